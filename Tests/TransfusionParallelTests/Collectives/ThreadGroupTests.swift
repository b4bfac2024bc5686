import CollectivesProbe
import Testing
import TransfusionCore
import TransfusionParallel

@Suite struct ThreadGroupTests {
    private struct Broken: Error, Equatable {}

    @Test(arguments: [1, 2, 3, 4, 5, 8]) func everyOperationGivesThePlainResult(_ ranks: Int) throws {
        let passed = try ThreadGroup.run(ranks: ranks) { try CollectiveChecks.run($0) }
        #expect(passed.count == ranks)
        #expect(passed.allSatisfy { $0 == passed[0] && $0 > 50 })
    }

    @Test func resultsComeInRankOrder() throws {
        #expect(try ThreadGroup.run(ranks: 5) { $0.rank * 10 } == [0, 10, 20, 30, 40])
    }

    @Test func aRankThatThrowsReleasesTheOthers() {
        #expect(throws: Broken.self) {
            try ThreadGroup.run(ranks: 4, timeout: nil) { group in
                try group.barrier(site: "start")
                if group.rank == 2 { throw Broken() }
                try group.barrier(site: "never")
            }
        }
    }

    @Test func ranksOfASmallerGroupAreReleasedToo() {
        #expect(throws: Broken.self) {
            try ThreadGroup.run(ranks: 4, timeout: nil) { group in
                let part = try group.split(color: group.rank / 2, key: 0, name: "half")
                if group.rank == 3 { throw Broken() }
                try part.barrier(site: "in the half")
                try group.barrier(site: "never")
            }
        }
    }

    @Test func theOthersLearnWhoGaveUp() throws {
        let words = try ThreadGroup.run(ranks: 2, timeout: nil) { group in
            // A nested world, so that the error itself can be looked at.
            do {
                _ = try ThreadGroup.run(ranks: 2, timeout: .milliseconds(50)) { inner in
                    if inner.rank == 0 { try inner.barrier(site: "alone") }
                }
                return "no error"
            } catch {
                return "\(error)"
            }
        }
        for text in words {
            #expect(text.contains("rank 0 of group 'world', in 'alone': rank 1 did not come within 0.05 s"))
        }
    }

    @Test func differentCallsAreRefusedByName() throws {
        let error = #expect(throws: CollectiveError.self) {
            try ThreadGroup.run(ranks: 3) { group in
                if group.rank == 0 {
                    try group.barrier(site: "end of step")
                } else {
                    _ = try group.sum([1], site: "losses")
                }
            }
        }
        let text = try #require(error).description
        #expect(text.contains("'end of step' (barrier, 0 bytes)"))
        #expect(text.contains("'losses' (all-reduce, 8 bytes)"))
    }

    @Test func callsOfDifferentLengthsAreRefused() {
        #expect(throws: CollectiveError.self) {
            try ThreadGroup.run(ranks: 2) { group in
                _ = try group.sum([Double](repeating: 1, count: 1 + group.rank), site: "losses")
            }
        }
    }
}
