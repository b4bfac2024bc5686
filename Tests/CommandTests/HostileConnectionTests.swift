import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// A run whose coordinator has few descriptors, and others who take them.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct HostileConnectionTests {
    private static let endless = ["--set", "schedule.steps=10000000", "--set", "checkpoint.every_steps=1000000"]

    /// 2,000 connections at 1,024 descriptors: nothing is ended or launched again, and all questions are answered. For
    /// TRANSFUSION_HOSTILE=60 seconds it also measures what that costs, on a machine that does nothing else: one rank shares
    /// one processor with its coordinator, and the strangers, who would be elsewhere, have another.
    @Test func idleAndSlowConnectionsHarmNoRun() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let long = ProcessInfo.processInfo.environment["TRANSFUSION_HOSTILE"].flatMap(Double.init)
        let seconds = long ?? 4
        let run = try SupervisedRun("besieged", in: temporary, dataset: dataset)
        let ranks = long == nil ? 2 : 1
        try run.start(descriptors: 1024, Self.endless + ["--ranks", "\(ranks)"])
        let before = try run.wait("it trains") { $0.state == .running && $0.step > 20 && $0.ranks.count == ranks }
        if long != nil {
            let places = (run.processes + [try #require(run.process).pid]).map { ($0, 0) } + [(getpid(), 1)]
            for (pid, processor) in places {
                try #require(try Command.onPath("taskset").run("-a", "-c", "-p", "\(processor)", "\(pid)").status == 0)
            }
        }
        let coordinator = try #require(run.process)
        var slowest = 0.0
        /// With a look at the status after each five seconds: a program that is started costs time, too.
        func slices(until isOver: () -> Bool) throws -> [Slice] {
            var slices: [Slice] = []
            while !isOver() {
                let first = try #require(run.status), begin = ContinuousClock.now
                let taken = try coordinator.processorSeconds
                usleep(UInt32(min(seconds, 5) * 1e6))
                let last = try #require(run.status, "no status; \(run.log)")
                let elapsed = (ContinuousClock.now - begin) / .seconds(1)
                slices.append(
                    Slice(
                        steps: Double(last.step - first.step) / elapsed,
                        coordinator: (try coordinator.processorSeconds - taken) / elapsed))
                slowest = max(slowest, elapsed - min(seconds, 5))
                #expect(last.source == .coordinator && last.state == .running && last.restarts.isEmpty)
                #expect(last.ranks.map(\.condition) == Array(repeating: .ok, count: ranks) && last.recoveries.isEmpty)
            }
            return slices
        }
        func quietSlices() throws -> [Slice] {
            let end = ContinuousClock.now + .seconds(seconds / 2)
            return try slices { ContinuousClock.now >= end }
        }
        var quiet = long == nil ? [] : try quietSlices()

        let clients = HostileClients(port: try #require(try port(of: run)), count: 2000)
        let end = ContinuousClock.now + .seconds(seconds)
        let hostile = try slices {
            ContinuousClock.now >= end && (clients.closed >= 500 || ContinuousClock.now >= end + .seconds(60))
        }
        // The siege was one: the coordinator had to get rid of most of them.
        #expect(clients.closed >= 500)
        print("\(clients.closed) connections were closed, \(clients.open) are open; status took \(slowest) s at most")
        clients.stop()
        if long != nil {
            quiet += try quietSlices()
            print("undisturbed:", quiet, "besieged:", hostile)
            let left = (1 - hostile.mean(\.coordinator)) / (1 - quiet.mean(\.coordinator))
            let steps = hostile.mean(\.steps) / quiet.mean(\.steps)
            print("left to the rank: \(100 * left) %; steps: \(100 * steps) %")
            #expect(left > 0.95 && steps > 0.95)
        }
        let after = try run.wait("it went on") { $0.step > before.step }
        #expect(Set(after.ranks.map(\.pid)) == Set(before.ranks.map(\.pid)))
        try run.stop(now: true)
        #expect(try run.finish() == 1)
        #expect(run.processes == [])
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
        let data = try Data(contentsOf: URL(filePath: run.directory + "/coordinator/control.json"))
        return URL(string: try CoordinatorJSON.decode(ControlEndpoint.self, from: data).url)?.port
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
