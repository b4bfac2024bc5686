import Foundation
import Testing

@testable import TransfusionTelemetry

struct ProcessorUseTests {
    private static let statistics = """
        cpu  300 0 60 600 40 0 0 0 0 0
        cpu0 100 10 20 200 30 5 5 30 50 5
        cpu1 100 0 20 200 5 0 0 0 0 0
        cpu11 100 0 20 200 5 0 0 0 0 0
        intr 5 6
        """

    private func use(_ processors: Set<Int>, own: Double = 0) -> ProcessorUse {
        ProcessorUse(
            statistics: Self.statistics, processors: processors, ticksPerSecond: 100, ownSeconds: own)
    }

    @Test func timeThatOtherGuestsTookIsBusyAndGuestsOfOneAreNotCountedTwice() {
        #expect(use([0]) == ProcessorUse(busySeconds: 1.7, allSeconds: 4, ownSeconds: 0))
    }

    @Test func onlyTheProcessorsOfTheProcessCount() {
        #expect(use([1]).allSeconds == 3.25)
        #expect(use([1, 11]).busySeconds == 2.4)
        #expect(use([7]).othersShare == nil && use([]).othersShare == nil)
    }

    @Test func othersHaveWhatIsBusyWithoutOnesOwn() throws {
        let share = try #require(use([0], own: 0.7).othersShare)
        #expect(abs(share - 0.25) < 1e-12)
        // Clocks of different grain must not make others negative.
        #expect(use([0], own: 3).othersShare == 0)
    }

    @Test func theProcessorsOfAProcessAreThoseOfItsMask() {
        let status = "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-2,8,10-11\nMems_allowed_list:\t0\n"
        #expect(ProcessorUse.allowedProcessors(status: status) == [0, 1, 2, 8, 10, 11])
        #expect(ProcessorUse.allowedProcessors(status: "Cpus_allowed_list:\t\n").isEmpty)
        #expect(ProcessorUse.allowedProcessors(status: "").isEmpty)
    }

    @Test func thisProcessSeesItsOwnWork() {
        let processors = ProcessorUse.allowedProcessors
        #expect(!processors.isEmpty)
        let before = ProcessorUse(of: processors)
        var sum = 0.0
        let end = ContinuousClock.now + .milliseconds(300)
        while ContinuousClock.now < end { sum += (0..<1000).reduce(0) { $0 + Double($1).squareRoot() } }
        let use = ProcessorUse(of: processors) - before
        #expect(sum > 0 && use.ownSeconds > 0.005 && use.allSeconds > 0)
    }
}
