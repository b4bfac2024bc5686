import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// A run that loses a process every half minute for ten minutes.
///
/// As long as that, so only when asked for: TRANSFUSION_SOAK=600, in seconds.
@Suite(
    .oneSuiteAtATime, .enabled(if: ProcessInfo.processInfo.environment["TRANSFUSION_SOAK"] != nil),
    .timeLimit(.minutes(60)))
struct SoakTests {
    private let duration = ProcessInfo.processInfo.environment["TRANSFUSION_SOAK"].flatMap { Double($0) } ?? 600
    /// Between two faults, on average, in seconds.
    private static let interval = 30.0

    @Test func aRunThatIsDisturbedForLongGetsOn() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let run = try SupervisedRun("soak", in: temporary, dataset: dataset)
        try run.start(["--set", "schedule.steps=100000000", "--set", "supervision.restarts=10"])
        _ = try run.wait("the first steps") { $0.state == .running && $0.step > 100 }
        let coordinator = try #require(run.process).pid
        let start = Date()
        var faults = 0, memory: [Int] = [], nextFault = Self.time(), saved = 0
        while -start.timeIntervalSinceNow < duration {
            usleep(1_000_000)
            memory.append(try residentBytes(of: coordinator))
            guard -start.timeIntervalSinceNow > nextFault, let status = run.status, status.state == .running else {
                continue
            }
            let step = status.lastCheckpoint?.step ?? 0
            #expect(step >= saved, "the checkpoint of step \(saved) is lost")
            saved = step
            let victims = status.ranks.map(\.pid) + [run.launcher].compactMap(\.self)
            kill(try #require(victims.randomElement()), SIGKILL)
            faults += 1
            nextFault = -start.timeIntervalSinceNow + Self.time()
        }
        let last = try run.wait("the last recovery") { $0.state == .running }
        try run.stop(now: false)
        #expect(try run.finish() == 85, "\(run.log)")
        #expect(run.processes.isEmpty, "orphans")
        let status = try #require(run.status)
        #expect(status.recoveries.count == faults && faults > 0)
        let ratio = try #require(last.effectiveTrainingTimeRatio)
        #expect(ratio >= 0.6)
        let verified = try Command("tf-ckpt").run("verify", run.directory)
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
        // What it remembers of the run has a bound, which is reached early.
        let third = memory.count / 3
        let early = try #require(memory[..<third].max()), late = try #require(memory[(2 * third)...].max())
        #expect(Double(late) < 1.1 * Double(early))
        print(
            "soak: \(faults) faults in \(Int(duration)) s, \(status.step) steps, effective training time "
                + String(
                    format: "%.1f %%, coordinator %.1f MB in the first third, %.1f MB in the last", 100 * ratio,
                    Double(early) / 1e6, Double(late) / 1e6))
    }

    /// Until the next fault: faults come independently of each other.
    private static func time() -> Double { -interval * log(Double.random(in: 0.02...1)) }
}
