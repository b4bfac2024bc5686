import Testing

@testable import TransfusionCoordinator

@Suite struct RestartBudgetTests {
    @Test func failuresWithoutProgressUseItUpWithGrowingWaits() {
        var budget = RestartBudget()
        let waits = (0..<6).map { _ in budget.failed(checkpoint: 10, limit: 4, backoff: 2) }
        #expect(waits == [0, 2, 4, 8, nil, nil])
        #expect(budget.left(of: 4) == 0)
    }

    @Test func aNewCheckpointRefillsIt() {
        var budget = RestartBudget()
        let waits = (0..<50).map { budget.failed(checkpoint: $0, limit: 1, backoff: 1) }
        #expect(waits.allSatisfy { $0 == 0 })
        let again = budget.failed(checkpoint: 49, limit: 1, backoff: 1)
        #expect(again == nil)
    }

    @Test func waitsHaveABound() {
        var budget = RestartBudget()
        let waits = (0..<40).compactMap { _ in budget.failed(checkpoint: nil, limit: 100, backoff: 1) }
        #expect(waits.count == 40 && waits.max() == 300)
    }

    @Test func waitsForWhatIsImpossibleNowGrowToABoundToo() {
        #expect([1, 2, 3, 20, 1000].map { RestartBudget.wait($0, from: 2) } == [2, 4, 8, 300, 300])
        #expect(RestartBudget.wait(7, from: 0) == 0)
    }

    @Test func theSameStepWithBadNumbersIsTriedOnceMore() {
        var budget = RestartBudget()
        let answers = [7, 7, 8].map { budget.failedOnNumbers(step: $0) }
        #expect(answers == [true, false, true])
    }

    @Test func noRestartsMeansNone() {
        var budget = RestartBudget()
        let wait = budget.failed(checkpoint: nil, limit: 0, backoff: 1)
        #expect(wait == nil)
    }
}
