import Foundation
import Testing
import TransfusionConfig
import TransfusionCoordinator
import _TestUtilities

/// `tf-coord serve` and the commands that ask it, with real mpirun.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(20))) struct DaemonCommandTests {
    @Test func runsWaitForSlotsAndOneAfterAnother() throws {
        let daemon = try RunningDaemon(slots: 2)
        try daemon.start()
        #expect(try daemon.ask("status").output.hasPrefix("no runs"))
        let first = try daemon.submit("first", "schedule.steps=10000000", ranks: 2)
        #expect(first.status == 0 && first.output.hasPrefix("first  "), "\(first)")
        _ = try daemon.wait("first trains", "first") { $0.state == .running && $0.step > 5 }
        for name in ["second", "third"] { #expect(try daemon.submit(name, "schedule.steps=20", ranks: 2).status == 0) }

        // The summary of all, of one, and of the hosts.
        let runs = try daemon.runs()
        #expect(runs.map(\.run) == ["third", "second", "first"])
        #expect(runs.map(\.state) == [.queued, .queued, .running])
        #expect(try daemon.status("second")?.state == .queued)
        let hosts = try daemon.ask("hosts", "--json").output
        #expect(hosts.contains("\"condition\" : \"used\"") && hosts.contains("\"ranks\" : 2"), "\(hosts)")
        #expect(try daemon.ask("logs", "first").output.contains("step "))

        // What makes no sense is refused in one line.
        let twice = try daemon.submit("first", ranks: 2)
        #expect(twice.status == 2 && twice.errors == "error: run \"first\" is running already\n")
        let wide = try daemon.submit("wide", ranks: 3)
        #expect(
            wide.status == 2
                && wide.errors == "error: --ranks: 3 is more than the 2 slots of the hosts of this tf-coord\n")
        let nowhere = try daemon.submit("nowhere", "data.path=/no/data", ranks: 1)
        #expect(nowhere.status == 2 && nowhere.errors.hasPrefix("error: data.path: /no/data: is no data set"))
        let nobody = try daemon.ask("stop", "nobody")
        #expect(nobody.status == 2 && nobody.errors.contains("there is no run \"nobody\""))
        let again = try daemon.ask("resume", "second")
        #expect(again.status == 2 && again.errors == "error: run \"second\" is queued already\n")

        // The end of the first lets the others go, in their order.
        #expect(try daemon.ask("stop", "first").status == 0)
        let stopped = try daemon.wait("first stops", "first") { $0.state == .stopped }
        #expect(stopped.exit?.code == 85 && (stopped.lastCheckpoint?.step ?? 0) == stopped.step)
        _ = try daemon.wait("third is done", "third") { $0.state == .done && $0.step == 20 }
        #expect(try daemon.status("second")?.state == .done)
        let ended = try daemon.ask("stop", "second")
        #expect(ended.status == 2 && ended.errors.contains("has ended"))

        // One that was stopped goes on where it was.
        #expect(try daemon.ask("resume", "first").status == 0)
        let resumed = try daemon.wait("first goes on", "first") { $0.state == .running && $0.step > stopped.step }
        #expect(resumed.exit == nil)
        #expect(try daemon.ask("stop", "first", "--now").status == 0)
        _ = try daemon.wait("first ends", "first") { $0.state.isFinal }
        // Nothing is left to go on with.
        #expect(try daemon.stop() == 0)
        #expect(daemon.processes == [])
        #expect(try daemon.ask("submit", daemon.configuration).errors.contains("no daemon serves the runs below"))
    }

    @Test func aDaemonThatIsKilledFindsItsRunsAgain() throws {
        let daemon = try RunningDaemon(slots: 2)
        try daemon.start()
        for name in ["running", "waiting"] {
            let steps = name == "running" ? "10000000" : "20"
            #expect(try daemon.submit(name, "schedule.steps=\(steps)", ranks: 2).status == 0)
        }
        let before = try daemon.wait("it trains", "running") {
            $0.state == .running && $0.step > 5 && $0.ranks.count == 2
        }
        try daemon.kill()

        // Nobody answers, but the ranks go on and the files tell.
        #expect(try daemon.ask("status", "running").output.contains("(from files)"))
        try daemon.start()
        let after = try daemon.wait("it was taken over", "running") { $0.state == .running && $0.step > before.step }
        #expect(Set(after.ranks.map(\.pid)) == Set(before.ranks.map(\.pid)))
        #expect(after.recoveries.map(\.cause.kind) == [.coordinator] && after.restarts.isEmpty)
        #expect(try daemon.status("waiting")?.state == .queued)

        // Killed with its ranks, it launches them again.
        try daemon.kill()
        for pid in daemon.processes { Foundation.kill(pid, SIGKILL) }
        try daemon.start()
        let relaunched = try daemon.wait("it was launched again", "running") { status in
            status.state == .running && status.ranks.count == 2
                && Set(status.ranks.map(\.pid)).isDisjoint(with: after.ranks.map(\.pid))
        }
        #expect(relaunched.recoveries.count == 2)

        // Told to stop, it saves; the next one goes on with what is unfinished.
        #expect(try daemon.stop() == 85)
        #expect(daemon.processes == [])
        let saved = try #require(try daemon.status("running")?.lastCheckpoint?.step)
        try daemon.start()
        let resumed = try daemon.wait("it goes on", "running") { $0.state == .running && $0.step > saved }
        #expect(resumed.restarts.count == relaunched.restarts.count)
        #expect(try daemon.ask("stop", "waiting").status == 0)
        #expect(try daemon.status("waiting")?.state == .stopped)
        #expect(try daemon.ask("stop", "running").status == 0)
        _ = try daemon.wait("it stops", "running") { $0.state == .stopped }
        #expect(try daemon.stop() == 0)
    }

    @Test func aDaemonThatIsAskedTwiceSaysThatItHasNotSavedAndGoesOnLater() throws {
        let daemon = try RunningDaemon(slots: 1)
        try daemon.start()
        #expect(try daemon.submit("run", "schedule.steps=10000000", ranks: 1).status == 0)
        let before = try daemon.wait("it trains", "run") { $0.state == .running && $0.lastCheckpoint != nil }
        // A rank that is stopped cannot save between the two.
        for rank in before.ranks { Foundation.kill(rank.pid, SIGSTOP) }
        #expect(try daemon.stop(times: 2) == 1)
        #expect(daemon.log.contains("error: 1 run was ended without saving"), "\(daemon.log)")
        #expect(daemon.processes == [])
        try daemon.start()
        _ = try daemon.wait("it goes on", "run") { $0.state == .running && $0.ranks.count == 1 }
        #expect(try daemon.stop() == 85)
    }

    @Test func aDaemonWithFewerSlotsEndsWhatNeedsMore() throws {
        let daemon = try RunningDaemon(slots: 3)
        try daemon.start()
        for (name, steps, ranks) in [
            ("broken", 10_000_000, 1), ("running", 10_000_000, 2), ("wide", 20, 3), ("waiting", 20, 1),
        ] {
            #expect(try daemon.submit(name, "schedule.steps=\(steps)", ranks: ranks).status == 0)
        }
        for (name, ranks) in [("broken", 1), ("running", 2)] {
            _ = try daemon.wait("\(name) trains", name) {
                $0.state == .running && $0.step > 5 && $0.ranks.count == ranks
            }
        }
        let before = try #require(try daemon.status("running"))
        try daemon.kill()
        // One that cannot be supervised any more must not give away what those after it hold.
        let configuration = daemon.root + "/broken/run.yaml"
        let text = try String(contentsOfFile: configuration, encoding: .utf8)
        try text.replacing("seed: 0", with: "seed: 1").write(toFile: configuration, atomically: true, encoding: .utf8)

        try daemon.start(slots: 2)
        let after = try daemon.wait("it was taken over", "running") { $0.state == .running && $0.step > before.step }
        #expect(Set(after.ranks.map(\.pid)) == Set(before.ranks.map(\.pid)))
        #expect(try daemon.status("broken")?.exit?.reason.contains("seed") == true)
        for pid in daemon.processes(of: "broken") { Foundation.kill(pid, SIGKILL) }
        #expect(try daemon.status("waiting")?.state == .queued)
        let wide = try #require(try daemon.status("wide"))
        let reason =
            "--ranks: 3 is more than the 2 slots of the hosts of this tf-coord; with more slots for 'tf-coord serve', "
            + "'tf-coord resume wide' continues it"
        #expect(wide.state == .failed && wide.exit?.reason == reason)
        #expect(daemon.log.contains("wide: ended (2): \(reason)"))
        let resumed = try daemon.ask("resume", "wide")
        #expect(resumed.status == 2 && resumed.errors == "error: \(reason)\n")

        // What still runs saves before it ends.
        try daemon.kill()
        try daemon.start(slots: 1)
        // Until the supervisor has left, it says that it was stopped.
        let ended = try daemon.wait("it ends", "running") { $0.state == .failed }
        #expect(ended.exit?.reason.hasPrefix("--ranks: 2 ") == true, "\(ended)")
        #expect(ended.step > after.step && ended.lastCheckpoint?.step == ended.step)
        _ = try daemon.wait("the one behind it is done", "waiting") { $0.state == .done && $0.step == 20 }
        #expect(try daemon.stop() == 0)
        #expect(daemon.processes == [])
    }

    @Test func aRunThatCannotBeginIsNotLaunched() throws {
        let daemon = try RunningDaemon(slots: 1)
        let file = daemon.configuration
        for (arguments, problem) in [
            (["--run-dir", daemon.root, "--set", "data.path=/no/data"], "data.path: /no/data: is no data set"),
            (["--run-dir", "/proc/run"], "/proc/run: cannot make the directory: No such file"),
            (["--run-dir", file + "/run"], "\(file): cannot make the directory: File exists"),
            (["--run-dir", ""], "--run-dir: is empty"),
        ] {
            let result = try Command("tf-coord").run(["run", daemon.configuration] + arguments)
            #expect(result.status == 2, "\(result)")
            #expect(result.errors.hasPrefix("error: \(problem)"), "\(result)")
            #expect(result.errors.split(separator: "\n").count == 1, "\(result)")
        }
        #expect(!FileManager.default.fileExists(atPath: daemon.root))
    }

    @Test func aFullDiskUnderTheLogEndsNoRunButALostResultIsAFailure() throws {
        let daemon = try RunningDaemon(slots: 1)
        let run = ["run", daemon.configuration, "--set", "schedule.steps=5", "--run-dir", daemon.root + "/mute"]
        let coordinator = Command("tf-coord")
        #expect(try coordinator.runWithoutRoomForOutput(run).status == 0)
        #expect(try coordinator.run("status", daemon.root + "/mute").output.contains("step 5/5"))
        #expect(try coordinator.run("hosts", daemon.root + "/mute").output == "no hosts: no ranks are launched\n")
        let config = try coordinator.runWithoutRoomForOutput(["config", daemon.configuration])
        #expect(config.status == 1 && config.signal == nil)
    }

    @Test func oneDaemonServesARootAndItsFilesAreTheUsers() throws {
        let daemon = try RunningDaemon(slots: 1)
        try daemon.start()
        let second = try Command("tf-coord").run("serve", "--root", daemon.root, "--slots", "1")
        #expect(second.status == 2 && second.errors.contains("another tf-coord serves the runs there"), "\(second)")
        let attributes = try FileManager.default.attributesOfItem(atPath: daemon.root + "/.coordinator")
        #expect(attributes[.posixPermissions] as? Int == 0o700)
        let endpoint = try FileManager.default.attributesOfItem(atPath: daemon.root + "/.coordinator/daemon.json")
        #expect(endpoint[.posixPermissions] as? Int == 0o600)
        // Not on a terminal, so what it prints may be read by others: no token is in it.
        #expect(daemon.log.contains("dashboard: http://127.0.0.1:") && !daemon.log.contains("token="), "\(daemon.log)")
        let open = try Command("tf-coord").run("serve", "--root", daemon.root + "-other", "--listen", "0.0.0.0:7700")
        #expect(open.status == 2 && open.errors.contains("tokens would cross the network in the clear"), "\(open)")
        // A token is shown once; its name takes it back.
        let token = try daemon.ask("token", "prometheus").output
        #expect(token.count == 65)
        #expect(try daemon.ask("token", "prometheus", "--revoke").status == 0)
        let gone = try daemon.ask("token", "prometheus", "--revoke")
        #expect(gone.status == 2 && gone.errors == "error: there is no token \"prometheus\"\n")
        #expect(try daemon.ask("token", "a b").status == 2)
        #expect(try daemon.stop() == 0)
        #expect(!FileManager.default.fileExists(atPath: daemon.root + "/.coordinator/daemon.json"))
    }
}

/// A daemon that a test starts, asks and kills.
final class RunningDaemon {
    private let temporary: TemporaryDirectory
    private let dataset: SmallDataset
    private let slots: Int
    private var process: RunningCommand?

    init(slots: Int) throws {
        temporary = try TemporaryDirectory()
        dataset = try SmallDataset()
        self.slots = slots
        try """
        model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 100, learning_rate: 3e-3, minimum_learning_rate: 1e-4, warmup_steps: 3}
        batch: {sequence_length: 64, global_sequences: 4}
        parallel: {threads: 1}
        precision: f32
        checkpoint: {every_steps: 100}
        telemetry: {tensorboard: false}
        """.write(toFile: configuration, atomically: true, encoding: .utf8)
    }

    deinit {
        process?.send(SIGKILL)
        for pid in processes { Foundation.kill(pid, SIGKILL) }
    }

    var root: String { temporary.file("runs") }
    var configuration: String { temporary.file("run.yaml") }
    var log: String { (try? String(contentsOfFile: temporary.file("log"), encoding: .utf8)) ?? "" }

    /// Starts it, and waits until it answers.
    /// - Parameter other: Slots other than those of the first start.
    func start(slots other: Int? = nil) throws {
        let process = try Command("tf-coord").start(
            ["serve", "--root", root, "--slots", "\(other ?? slots)"], output: temporary.file("log"))
        self.process = process
        let printed = log.count
        let deadline = Date(timeIntervalSinceNow: 60)
        while try ask("hosts").status != 0 || !log.dropFirst(printed).contains("dashboard: ") {
            guard process.isRunning, Date() < deadline else { throw Problem("the daemon does not start: \(log)") }
            usleep(50_000)
        }
    }

    func kill() throws {
        let process = try #require(process)
        process.send(SIGKILL)
        #expect(try process.wait().signal == SIGKILL)
    }

    /// Asks it to stop.
    /// - Returns: Its exit code.
    func stop(times: Int = 1) throws -> Int32 {
        let process = try #require(process)
        for time in 0..<times {
            usleep(time > 0 ? 300_000 : 0)
            process.send(SIGTERM)
        }
        return try process.wait().status
    }

    func ask(_ verb: String, _ arguments: String...) throws -> Command.Result {
        try Command("tf-coord").run([verb] + arguments + ["--root", root])
    }

    func submit(_ name: String, _ setting: String = "seed=0", ranks: Int) throws -> Command.Result {
        try ask("submit", configuration, "--set", "name=\(name)", "--set", setting, "--ranks", "\(ranks)")
    }

    func runs() throws -> [RunSummary] {
        let result = try ask("status", "--json")
        return try CoordinatorJSON.decode([RunSummary].self, from: Data(result.output.utf8))
    }

    func status(_ run: String) throws -> RunStatus? {
        let result = try ask("status", run, "--json")
        return try? CoordinatorJSON.decode(RunStatus.self, from: Data(result.output.utf8))
    }

    func wait(
        _ what: String, _ run: String, seconds: Double = 120, until holds: (RunStatus) -> Bool
    ) throws -> RunStatus {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while Date() < deadline {
            if let status = try status(run), holds(status) { return status }
            usleep(150_000)
        }
        throw Problem("\(what): not within \(seconds) s: \(String(describing: try status(run))); \(log.suffix(2000))")
    }

    /// Every process of a run of this daemon, on this host.
    var processes: [Int32] { processes(of: "") }

    /// Those of one run.
    func processes(of run: String) -> [Int32] {
        let mark = Data("TRANSFUSION_COORDINATOR=\(root)/\(run)".utf8)
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.filter { pid in
            guard let file = FileHandle(forReadingAtPath: "/proc/\(pid)/environ") else { return false }
            defer { try? file.close() }
            return (try? file.readToEnd())?.range(of: mark) != nil
        }
    }
}
