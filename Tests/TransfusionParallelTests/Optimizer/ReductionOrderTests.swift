import Testing
import TransfusionParallel

@Suite struct ReductionOrderTests {
    @Test func aTreeAddsNeighboursFirst() {
        // 1 is lost next to 1e16, unless the ones meet each other first.
        let large = 1e16, one = 1.0
        let sum = ReductionOrder.treeSum([large, one, one, one])
        #expect(sum == (large + one) + (one + one))
        #expect(sum != ((large + one) + one) + one)
        #expect(ReductionOrder.treeSum([1, 2, 4, 8, 16]) == 31)
        #expect(ReductionOrder.treeSum([0.5]) == 0.5 && ReductionOrder.treeSum([Double]()) == 0)
    }

    @Test(arguments: [1, 2, 4, 8]) func alignedRunsMakeTheSameTree(_ runs: Int) {
        let values = (0..<16).map { 1 / Double($0 * $0 + 3) }
        let length = values.count / runs
        let parts = (0..<runs).map { ReductionOrder.treeSum(values[$0 * length..<($0 + 1) * length]) }
        #expect(ReductionOrder.treeSum(parts) == ReductionOrder.treeSum(values))
    }

    @Test func elasticWantsPowersOfTwo() {
        #expect(ReductionOrder.elastic.problem(slots: 8, data: 4) == nil)
        #expect(ReductionOrder.elastic.problem(slots: 12, data: 4)?.contains("use 8 or 16") == true)
        #expect(ReductionOrder.elastic.problem(slots: 8, data: 3)?.contains("use 2 or 4") == true)
        #expect(ReductionOrder.fast.problem(slots: 12, data: 3) == nil)
    }
}
