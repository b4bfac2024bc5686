import Testing
import TransfusionCore
import TransfusionModels
import TransfusionParallel
import _TestUtilities

@testable import TransfusionTraining

@Suite struct CodeUseTests {
    @Test func countsTheCodesOfAllRanks() throws {
        let found = try ThreadGroup.run(ranks: 2) { group in
            let context = Context.forTests(), use = CodeUse(codes: 8)
            let codes = context.empty([4], .i32)
            let taken: [[Int32]] = [[0, 0, 1, 1], [2, 2, 3, 3]]
            for (index, code) in taken[group.rank].enumerated() { codes.i32[index] = code }
            use.count(codes)
            let first = try use.take(group)
            // What was taken is not counted again.
            let second = try use.take(group)
            return (first + second).map(\.mean)
        }
        for means in found {
            #expect(means[0] == 0.5 && abs(means[1] - 4) < 1e-12)
            #expect(means[2] == 0)
        }
    }
}
