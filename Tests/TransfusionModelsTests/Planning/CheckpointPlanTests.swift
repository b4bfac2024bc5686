import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

@Suite struct CheckpointPlanTests {
    private func plan(isAsynchronous: Bool, secondsBetweenFailures: Double) -> CheckpointPlan {
        var machine = MachineRates.example
        machine.sharedSumBytesPerSecond = 1e9
        return CheckpointPlan(
            parameters: 1_000_000_000, ownedElements: 10_000_000, isAsynchronous: isAsynchronous,
            machine: machine, bytesPerSecond: 1e9, restartSeconds: 10,
            secondsBetweenFailures: secondsBetweenFailures)
    }

    /// The optima of the paper's figures 3 to 5, in minutes, for dumps of 5 minutes.
    @Test(arguments: [(1440.0, 117.0), (360.0, 57.0), (15.0, 9.1)])
    func intervalIsDalys(_ minutesBetweenFailures: Double, _ expected: Double) {
        let interval = CheckpointPlan.interval(stall: 300, secondsBetweenFailures: minutesBetweenFailures * 60) / 60
        #expect(abs(interval - expected) < (expected < 10 ? 0.05 : 0.5))
    }

    @Test func failuresFasterThanSavesLeaveOneIntervalForEach() {
        #expect(CheckpointPlan.interval(stall: 300, secondsBetweenFailures: 100) == 100)
    }

    @Test func savingInTheBackgroundStopsForACopyOnly() {
        let background = plan(isAsynchronous: true, secondsBetweenFailures: 86400)
        let foreground = plan(isAsynchronous: false, secondsBetweenFailures: 86400)
        #expect(background.bytes == 12_000_000_000)
        #expect(background.writeSeconds == 12 && foreground.stallSeconds == 12)
        #expect(background.stallSeconds == 0.12)
        #expect(background.effectiveTime > foreground.effectiveTime)
        // √(2 · 0.12 · 86400) s between saves, and a failure costs half of it, the save that was under way, the start.
        #expect(abs(background.intervalSeconds - 144) < 1)
        #expect(abs(background.effectiveTime - (1 - (72 + 12 + 10 + 12) / 86400) * 144 / 144.12) < 1e-4)
    }

    @Test func aSaveEndsBeforeTheNextBegins() {
        #expect(plan(isAsynchronous: true, secondsBetweenFailures: 100).intervalSeconds == 12)
    }

    @Test func aClusterThatFailsAllTheTimeGetsNothingDone() {
        #expect(plan(isAsynchronous: true, secondsBetweenFailures: 20).effectiveTime == 0)
    }
}
