import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// Signals to workers, ranks and coordinators: what is saved, and what the exit code says of it.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct StopSignalTests {
    private let temporary: TemporaryDirectory
    private let dataset: SmallDataset

    init() throws {
        temporary = try TemporaryDirectory()
        dataset = try SmallDataset()
    }

    private func endless(_ name: String) throws -> SupervisedRun {
        try SupervisedRun(name, in: temporary, dataset: dataset)
    }

    private let long = ["--set", "schedule.steps=10000000", "--set", "checkpoint.every_steps=10000000"]

    private func worker(_ run: String) throws -> [String] {
        _ = try endless("configuration")
        return ["--config", temporary.file("run.yaml"), "--run-dir", temporary.file(run)] + long
    }

    private func waitForSteps(_ run: String, _ job: RunningCommand) throws {
        let deadline = Date(timeIntervalSinceNow: 120)
        while (try? loggedLosses(ofRun: temporary.file(run)))?.isEmpty != false {
            guard Date() < deadline, job.isRunning else { throw Problem("\(run) does not train") }
            usleep(20_000)
        }
    }

    private func isSaved(_ run: String) throws -> Bool {
        let steps = try loggedLosses(ofRun: temporary.file(run)).count
        let name = "step-" + String(repeating: "0", count: 8 - "\(steps)".count) + "\(steps)"
        return FileManager.default.fileExists(atPath: temporary.file("\(run)/checkpoints/\(name)/manifest.json"))
    }

    @Test(arguments: [SIGHUP, SIGTERM, SIGINT, SIGUSR1]) func aWorkerSavesAndStops(_ signal: Int32) throws {
        let job = try Command("tf-worker").start(worker("run"))
        try waitForSteps("run", job)
        job.send(signal)
        let end = try job.wait()
        #expect(end.status == 85, "\(end)")
        #expect(try isSaved("run"))
    }

    @Test func underNohupTheEndOfTheTerminalIsIgnored() throws {
        let job = try Command.onPath("nohup").start([Command("tf-worker").path] + worker("run"))
        try waitForSteps("run", job)
        job.send(SIGHUP)
        let steps = try loggedLosses(ofRun: temporary.file("run")).count
        let deadline = Date(timeIntervalSinceNow: 60)
        while try loggedLosses(ofRun: temporary.file("run")).count < steps + 50, job.isRunning, Date() < deadline {
            usleep(20_000)
        }
        #expect(job.isRunning)
        job.send(SIGTERM)
        #expect(try job.wait().status == 85)
    }

    /// From the first moment at which the program itself runs, a signal is not its end.
    @Test func aSignalWhileAWorkerStartsIsKept() throws {
        for delay in [150_000, 300_000, 600_000] {
            let job = try Command("tf-worker").start(worker("early-\(delay)"))
            let deadline = Date(timeIntervalSinceNow: 30)
            // Until the kernel says that it is held back or caught.
            while !Self.takesSigterm(job.pid), job.isRunning, Date() < deadline { usleep(500) }
            usleep(UInt32(delay))
            job.send(SIGTERM)
            let end = try job.wait()
            #expect(end.status == 85 && end.signal == nil, "\(delay): \(end)")
        }
    }

    private static func takesSigterm(_ pid: Int32) -> Bool {
        let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")
        guard program?.hasSuffix("/tf-worker") == true else { return false }
        let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").contains { line in
            guard line.hasPrefix("SigBlk:") || line.hasPrefix("SigCgt:"),
                let mask = line.split(whereSeparator: \.isWhitespace).last.flatMap({ UInt64($0, radix: 16) })
            else { return false }
            return mask & 1 << UInt64(SIGTERM - 1) != 0
        }
    }

    @Test(arguments: [[SIGTERM, SIGTERM], [SIGHUP], [SIGHUP, SIGTERM, SIGINT]])
    func signalsToOneRankStopTheRunWithoutARestart(_ signals: [Int32]) throws {
        let run = try endless("rank")
        try run.start(long)
        let before = try run.wait("it trains") { $0.step > 20 && $0.ranks.count == 2 }
        for signal in signals { kill(before.ranks[1].pid, signal) }
        #expect(try run.finish() == 85, "\(run.log)")
        let status = try #require(run.status)
        #expect(status.restarts.isEmpty && status.recoveries.isEmpty, "\(status.recoveries)")
        #expect(status.state == .stopped && status.lastCheckpoint?.step == status.step)
        #expect(run.processes.isEmpty)
    }

    @Test func aRankThatIsAskedToEndBeforeItListensStopsTheRun() throws {
        let run = try endless("early")
        try run.start(long)
        // The first look at a rank finds it before it has taken its signals.
        let deadline = Date(timeIntervalSinceNow: 60)
        var rank: Int32?
        while rank == nil, Date() < deadline {
            rank = run.processes.first { pid in
                let name = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")
                return name?.hasSuffix("/tf-worker") == true
            }
        }
        kill(try #require(rank), SIGTERM)
        #expect(try run.finish() == 85, "\(run.log)")
        let status = try #require(run.status)
        #expect(status.restarts.isEmpty && status.recoveries.isEmpty, "\(status.recoveries)")
    }

    @Test func hangingUpOnACoordinatorSavesAndStops() throws {
        let run = try endless("coordinator")
        try run.start(long)
        _ = try run.wait("it trains") { $0.step > 20 && $0.ranks.count == 2 }
        try #require(run.process).send(SIGHUP)
        #expect(try run.finish() == 85, "\(run.log)")
        let status = try #require(run.status)
        #expect(status.lastCheckpoint?.step == status.step)
    }

    @Test func askingACoordinatorTwiceSavesNothingAndSaysSo() throws {
        let run = try endless("twice")
        try run.start(long)
        let before = try run.wait("it trains") { $0.step > 20 && $0.ranks.count == 2 }
        // Ranks that are stopped cannot save between the two.
        for rank in before.ranks { kill(rank.pid, SIGSTOP) }
        let process = try #require(run.process)
        process.send(SIGTERM)
        usleep(300_000)
        process.send(SIGTERM)
        #expect(try run.finish() == 1, "\(run.log)")
        #expect(run.log.contains("error: ended at once, without saving; there is no checkpoint yet"), "\(run.log)")
        let status = try #require(run.status)
        #expect(status.state == .stopped && status.exit?.code == 1 && status.lastCheckpoint == nil)
        #expect(run.processes.isEmpty)
    }

    @Test func aRunGoesBackOnceAndRestartsGoOnFromTheNewBranch() throws {
        let first = try endless("origin")
        try first.start(["--set", "checkpoint.every_steps=50", "--set", "checkpoint.keep.last=100"])
        #expect(try first.finish() == 0, "\(first.log)")
        let run = try endless("branch")
        try run.start(["--resume", first.checkpoint(1000)])
        // Killed before it has saved, it goes back there again.
        let begun = try run.wait("it trains") { $0.step > 1000 && $0.ranks.count == 2 }
        kill(begun.ranks[0].pid, SIGKILL)
        let later = try run.wait("it has saved") { ($0.lastCheckpoint?.step ?? 0) >= 1200 && $0.ranks.count == 2 }
        kill(later.ranks[0].pid, SIGKILL)
        #expect(try run.finish() == 0, "\(run.log)")
        let logs = run.launchLogs
        #expect(logs.count == 3 && logs[0].contains("resuming from step 1000 (\(first.directory)"), "\(logs)")
        #expect(logs.last?.contains("resuming from step 1000 ") == false, "\(logs)")
        #expect(logs.last?.contains("(\(run.directory)/checkpoints") == true, "\(logs)")
        let refused = try Command("tf-coord").run(
            "run", temporary.file("run.yaml"), "--run-dir", temporary.file("no"), "--resume", "/nowhere")
        #expect(refused.status == 2 && refused.errors.hasPrefix("error: --resume: /nowhere: "), "\(refused)")
    }
}
