import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// A run whose coordinator has few descriptors, and others who take them.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct HostileConnectionTests {
    private static let endless = ["--set", "schedule.steps=10000000", "--set", "checkpoint.every_steps=1000000"]

    /// 2,000 connections at 1,024 descriptors: nothing is ended or launched again, and all questions are answered. For
    /// TRANSFUSION_HOSTILE=60 seconds it also measures what that costs, on a machine that does nothing else.
    @Test func idleAndSlowConnectionsHarmNoRun() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let long = ProcessInfo.processInfo.environment["TRANSFUSION_HOSTILE"].flatMap(Double.init)
        let seconds = long ?? 4
        let run = try SupervisedRun("besieged", in: temporary, dataset: dataset)
        try run.start(descriptors: 1024, Self.endless)
        let before = try run.wait("it trains") { $0.state == .running && $0.step > 20 && $0.ranks.count == 2 }
        func rate(over seconds: Double) throws -> Double {
            let first = try #require(run.status), begin = ContinuousClock.now
            usleep(UInt32(seconds * 1e6))
            let last = try #require(run.status)
            return Double(last.step - first.step) / ((ContinuousClock.now - begin) / .seconds(1))
        }
        var slowest = 0.0
        /// Steps a second, with a look at the status after each five seconds: a program that is started costs time, too.
        func rates(until isOver: () -> Bool) throws -> [Double] {
            var rates: [Double] = []
            while !isOver() {
                rates.append(try rate(over: min(seconds, 5)))
                let begin = ContinuousClock.now
                let status = try #require(run.status, "no status; \(run.log)")
                slowest = max(slowest, (ContinuousClock.now - begin) / .seconds(1))
                #expect(status.source == .coordinator && status.state == .running && status.restarts.isEmpty)
                #expect(status.ranks.map(\.condition) == [.ok, .ok] && status.recoveries.isEmpty)
            }
            return rates
        }
        func quietRates() throws -> [Double] {
            let end = ContinuousClock.now + .seconds(seconds / 2)
            return try rates { ContinuousClock.now >= end }
        }
        var quiet = long == nil ? [] : try quietRates()

        let clients = HostileClients(port: try #require(try port(of: run)), count: 2000)
        let end = ContinuousClock.now + .seconds(seconds)
        let hostile = try rates {
            ContinuousClock.now >= end && (clients.closed >= 500 || ContinuousClock.now >= end + .seconds(60))
        }
        // The siege was one: the coordinator had to get rid of most of them.
        #expect(clients.closed >= 500)
        print("\(clients.closed) connections were closed, \(clients.open) are open; status took \(slowest) s at most")
        clients.stop()
        if long != nil {
            quiet += try quietRates()
            let share = hostile.reduce(0, +) / Double(hostile.count) / (quiet.reduce(0, +) / Double(quiet.count))
            print("steps a second: \(quiet) undisturbed, \(hostile) besieged: \(100 * share) %")
            #expect(share > 0.95)
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
