import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// A run whose coordinator has few descriptors, and others who take them.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct HostileConnectionTests {
    private static let endless = ["--set", "schedule.steps=10000000", "--set", "checkpoint.every_steps=1000000"]
    private static let siegeSeconds = ProcessInfo.processInfo.environment["TRANSFUSION_HOSTILE"].flatMap(Double.init)

    /// 2,000 connections at 1,024 descriptors, for four seconds or TRANSFUSION_HOSTILE: nothing is ended or launched again,
    /// and all questions are answered.
    @Test func idleAndSlowConnectionsHarmNoRun() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let run = try SupervisedRun("besieged", in: temporary, dataset: dataset)
        try run.start(descriptors: 1024, Self.endless)
        let before = try run.wait("it trains") { $0.state == .running && $0.step > 20 && $0.ranks.count == 2 }

        let clients = HostileClients(port: try #require(try port(of: run)), count: 2000)
        let end = ContinuousClock.now + .seconds(Self.siegeSeconds ?? 4)
        while ContinuousClock.now < end || (clients.closed < 500 && ContinuousClock.now < end + .seconds(60)) {
            sleep(1)
            let status = try #require(run.status, "no status; \(run.log)")
            #expect(status.source == .coordinator && status.state == .running && status.restarts.isEmpty)
            #expect(status.ranks.map(\.condition) == [.ok, .ok] && status.recoveries.isEmpty)
        }
        // The siege was one: the coordinator had to get rid of most of them.
        #expect(clients.closed >= 500)
        clients.stop()
        let after = try run.wait("it went on") { $0.step > before.step }
        #expect(Set(after.ranks.map(\.pid)) == Set(before.ranks.map(\.pid)))
        try run.stop(now: true)
        #expect(try run.finish() == 1)
        #expect(run.processes == [])
    }

    /// What a siege of TRANSFUSION_HOSTILE seconds takes from a run, on a machine that does nothing else.
    ///
    /// The rank shares one processor with its coordinator, and the strangers, who would be elsewhere, have another. They
    /// besiege the run and a daemon there in turn, as processors of one host take speed from each other, and more or less
    /// from one minute to the next.
    @Test(.enabled(if: siegeSeconds != nil)) func aSiegeTakesLittle() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let run = try SupervisedRun("besieged", in: temporary, dataset: dataset)
        try run.start(descriptors: 1024, Self.endless + ["--ranks", "1"])
        _ = try run.wait("it trains") { $0.state == .running && $0.step > 20 && $0.ranks.count == 1 }
        let coordinator = try #require(run.process)
        for (pid, processor) in (run.processes + [coordinator.pid]).map({ ($0, 0) }) + [(getpid(), 1)] {
            try #require(try Command.onPath("taskset").run("-a", "-c", "-p", "\(processor)", "\(pid)").status == 0)
        }
        let daemon = try Decoy(in: temporary), port = try #require(try port(of: run))
        var closed = 0, slowest = 0.0
        func slice(besieging port: Int, after wait: UInt32) throws -> Slice {
            let clients = HostileClients(port: port, count: 2000)
            defer {
                closed += clients.closed
                clients.stop()
            }
            sleep(wait)
            let first = try #require(run.status), begin = ContinuousClock.now
            let taken = try coordinator.processorSeconds
            sleep(5)
            let question = ContinuousClock.now
            let last = try #require(run.status, "no status; \(run.log)")
            slowest = max(slowest, (ContinuousClock.now - question) / .seconds(1))
            let elapsed = (ContinuousClock.now - begin) / .seconds(1)
            #expect(last.source == .coordinator && last.state == .running && last.restarts.isEmpty)
            #expect(last.ranks.map(\.condition) == [.ok] && last.recoveries.isEmpty)
            return Slice(
                steps: Double(last.step - first.step) / elapsed,
                coordinator: (try coordinator.processorSeconds - taken) / elapsed)
        }
        var quiet: [Slice] = [], hostile: [Slice] = []
        while 5 * Double(hostile.count) < Self.siegeSeconds ?? 0 {
            // Those of before, who still wait at the port, take their turns in ten seconds.
            quiet.append(try slice(besieging: daemon.port, after: 10))
            hostile.append(try slice(besieging: port, after: 2))
        }
        print("undisturbed:", quiet, "besieged:", hostile)
        let left = (1 - hostile.mean(\.coordinator)) / (1 - quiet.mean(\.coordinator))
        let steps = hostile.mean(\.steps) / quiet.mean(\.steps)
        print(
            "left to the rank: \(100 * left) %; steps: \(100 * steps) %; \(closed) connections were closed; "
                + "status took \(slowest) s at most")
        #expect(left > 0.95 && steps > 0.95)
        try run.stop(now: true)
        #expect(try run.finish() == 1)
    }

    /// Ranks that are launched while the port is crowded reach the coordinator all the same.
    @Test func aLostRankComesBackDuringASiege() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let run = try SupervisedRun("relieved", in: temporary, dataset: dataset)
        try run.start(descriptors: 1024, Self.endless)
        let before = try run.wait("it trains") { $0.state == .running && $0.step > 20 && $0.ranks.count == 2 }
        let clients = HostileClients(port: try #require(try port(of: run)), count: 2000)
        defer { clients.stop() }
        let end = ContinuousClock.now + .seconds(60)
        while clients.closed < 300, ContinuousClock.now < end { usleep(50_000) }
        kill(try #require(before.ranks.last).pid, SIGKILL)
        let after = try run.wait("it was launched again") {
            $0.source == .coordinator && $0.state == .running && $0.restarts.count == 1 && $0.ranks.count == 2
                && $0.step > 0
        }
        #expect(Set(after.ranks.map(\.pid)).isDisjoint(with: before.ranks.map(\.pid)))
        #expect(clients.closed >= 300)
        try run.stop(now: true)
        #expect(try run.finish() == 1)
    }

    /// A coordinator that can open nothing at all sees nothing, and does nothing about it.
    @Test func whoCannotLookKillsNobody() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let run = try SupervisedRun("blind", in: temporary, dataset: dataset)
        try run.start(descriptors: 1024, Self.endless)
        let before = try run.wait("it trains") { $0.state == .running && $0.step > 20 && $0.ranks.count == 2 }
        let coordinator = try #require(run.process)
        try limit(coordinator.pid, to: 3)
        // On a busy machine it may end here, and then it is libdispatch that ends it: once a second that looks at its threads in
        // /proc when tasks wait for one, and traps when it cannot.
        sleep(4)
        #expect(coordinator.isRunning, "\(run.log)")
        try limit(coordinator.pid, to: 1024)
        let after = try run.wait("it went on") { $0.source == .coordinator && $0.step > before.step + 5 }
        #expect(Set(after.ranks.map(\.pid)) == Set(before.ranks.map(\.pid)), "\(run.log)")
        #expect(after.restarts.isEmpty && after.recoveries.isEmpty)

        // A real failure meanwhile: nothing is launched before it is certain that nothing is left, and the run does not fail.
        try limit(coordinator.pid, to: 3)
        let victim = try #require(after.ranks.last)
        kill(victim.pid, SIGKILL)
        sleep(3)
        #expect(coordinator.isRunning, "\(run.log)")
        #expect(!run.log.contains("launch 2:"), "\(run.log)")
        try limit(coordinator.pid, to: 1024)
        let recovered = try run.wait("it was launched again") {
            $0.state == .running && $0.restarts.count == 1 && $0.ranks.count == 2 && $0.step > 0
        }
        #expect(Set(recovered.ranks.map(\.pid)).isDisjoint(with: after.ranks.map(\.pid)))
        try run.stop(now: true)
        #expect(try run.finish() == 1)
        #expect(run.processes == [])
    }

    private func limit(_ pid: Int32, to count: Int) throws {
        let result = try Command.onPath("prlimit").run("--pid", "\(pid)", "--nofile=\(count):1024")
        try #require(result.status == 0, "\(result.errors)")
    }

    private func port(of run: SupervisedRun) throws -> Int? {
        try controlPort(run.directory + "/coordinator/control.json")
    }

    /// What somebody else made beforehand gets no token.
    @Test func aDirectoryOfOthersGetsNoToken() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let run = try SupervisedRun("planted", in: temporary, dataset: dataset)
        let planted = [run.directory + "/coordinator", temporary.file("runs/.coordinator")]
        for path in planted {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: path)
        }
        try run.start()
        #expect(try run.finish() == 2)
        #expect(run.log.contains("coordinator: is open to other users (mode 777)"), "\(run.log)")
        let daemon = try Command("tf-coord").run("serve", "--root", temporary.file("runs"), "--slots", "1")
        #expect(daemon.status == 2)
        #expect(daemon.errors.contains("chmod 700' it; or choose another root directory"), "\(daemon.errors)")
        for path in planted { #expect(try FileManager.default.contentsOfDirectory(atPath: path) == []) }
    }
}

/// Of the server that a run's `control.json`, or the `daemon.json` of a daemon, names.
private func controlPort(_ file: String) throws -> Int? {
    struct Endpoint: Decodable {
        let url: String
    }
    return URL(string: try CoordinatorJSON.decode(Endpoint.self, from: Data(contentsOf: URL(filePath: file))).url)?.port
}

/// A coordinator without runs, on the processor of the tests, with as few descriptors as the one that is besieged.
private final class Decoy {
    let port: Int
    private let process: RunningCommand

    init(in temporary: TemporaryDirectory) throws {
        let root = temporary.file("decoy"), file = root + "/.coordinator/daemon.json"
        process = try Command("tf-coord").limited(toDescriptors: 1024).start(["serve", "--root", root, "--slots", "1"])
        let deadline = Date(timeIntervalSinceNow: 60)
        while !FileManager.default.fileExists(atPath: file) {
            guard Date() < deadline else { throw Problem("the daemon does not start") }
            usleep(50_000)
        }
        port = try #require(try controlPort(file))
    }

    deinit { process.send(SIGKILL) }
}

/// A few seconds of a run.
private struct Slice: CustomStringConvertible {
    /// A second.
    var steps: Double
    /// What the coordinator took of a processor.
    var coordinator: Double

    var description: String { String(format: "%.0f/s (%.1f %%)", steps, 100 * coordinator) }
}

extension [Slice] {
    fileprivate func mean(_ value: (Slice) -> Double) -> Double { map(value).reduce(0, +) / Double(count) }
}
