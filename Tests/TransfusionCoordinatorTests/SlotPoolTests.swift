import Testing
import TransfusionConfig

@testable import TransfusionCoordinator

@Suite struct SlotPoolTests {
    private func configuration(_ parallel: String = "{}") throws -> RunConfiguration {
        try RunConfiguration(
            yaml: """
                model: {preset: tiny}
                data: {path: /data}
                schedule: {steps: 5000}
                batch: {global_sequences: 8}
                parallel: \(parallel)
                """)
    }

    @Test func givesWhatARunWouldHaveAloneOrNothing() throws {
        var pool = SlotPool([ComputeHost(name: "a", slots: 2), ComputeHost(name: "b", slots: 2)])
        let plain = try configuration()
        #expect(pool.take("one", plain, limit: 1) == [ComputeHost(name: "a", slots: 1)])
        // All four are not free.
        #expect(pool.take("all", plain, limit: nil) == nil)
        #expect(pool.take("two", plain, limit: 2)?.reduce(0) { $0 + $1.slots } == 2)
        #expect(pool.free.reduce(0) { $0 + $1.slots } == 1)
        pool.release("one")
        pool.release("two")
        #expect(pool.take("all", plain, limit: nil)?.map(\.slots) == [2, 2])
    }

    @Test func tensorParallelRanksNeedAHostTogether() throws {
        var pool = SlotPool([ComputeHost(name: "a", slots: 2), ComputeHost(name: "b", slots: 2)])
        pool.hold("other", [ComputeHost(name: "a", slots: 1)])
        #expect(pool.take("pair", try configuration("{tensor: 2}"), limit: 2) == [ComputeHost(name: "b", slots: 2)])
        #expect(pool.ranks(on: "a") == 1 && pool.ranks(on: "b") == 2)
    }

    @Test func aRunIsLaunchedAgainWithNoMoreThanThereIs() throws {
        let pool = SlotPool([.local(slots: 1)])
        var request = try RunRequest.example("run")
        request.ranks = nil
        #expect(pool.limited(request, try configuration()).hosts == [.local(slots: 1)])
        request.hosts = [.local(slots: 1)]
        #expect(SlotPool([.local(slots: 2)]).limited(request, try configuration()) == request)
    }

    @Test func whatNeverFitsIsRefused() throws {
        let pool = SlotPool([ComputeHost(name: "a", slots: 2)])
        let plain = try configuration(), wide = try configuration("{tensor: 4}")
        #expect(throws: CommandFailure("--ranks: 3 is more than the 2 slots of the hosts of this tf-coord", .wrongUse))
        {
            try pool.check(plain, limit: 3)
        }
        #expect(throws: CommandFailure.self) { try pool.check(wide, limit: nil) }
        #expect(throws: Never.self) { try pool.check(plain, limit: 2) }
    }
}
