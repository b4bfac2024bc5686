import Foundation
import Synchronization
import Testing
import TransfusionConfig
import TransfusionCoordinator
import _TestUtilities

@testable import TransfusionTelemetry

/// What a coordinator takes for 1,000 ranks, each of which sends a heartbeat every two seconds, with 1,024 descriptors.
///
/// A measurement, so only when asked for: TRANSFUSION_LOAD=1, on a machine that does nothing else.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["TRANSFUSION_LOAD"] != nil), .timeLimit(.minutes(10)))
struct CoordinatorLoadTests {
    private static let ranks = 1000
    private static let seconds = 60.0

    @Test func aThousandRanksAreLittleWork() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let configuration = temporary.file("run.yaml"), run = temporary.file("load")
        try """
        name: load
        model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 1000000}
        batch: {sequence_length: 64, global_sequences: \(Self.ranks)}
        parallel: {reduction: fast}
        """.write(toFile: configuration, atomically: true, encoding: .utf8)
        // In place of the ranks, whose heartbeats this test sends.
        let programs = temporary.file("bin")
        try FileManager.default.createDirectory(atPath: programs, withIntermediateDirectories: true)
        try "#!/bin/sh\nexec sleep 900\n".write(toFile: programs + "/mpirun", atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: programs + "/mpirun")
        let coordinator = try Command("tf-coord").limited(toDescriptors: 1024).start(
            ["run", configuration, "--ranks", "\(Self.ranks)", "--run-dir", run],
            environment: ["PATH": programs + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "")])
        defer {
            _ = try? Command("tf-coord").run("stop", run, "--now")
            _ = try? coordinator.wait(seconds: 30)
        }
        let launch = try waitForLaunch(of: run)
        let endpoint = try HeartbeatEndpoint(file: run + "/coordinator/worker.json")

        let senders = Senders(ranks: Self.ranks, file: run + "/coordinator/worker.json", launch: launch)
        senders.start()
        defer { senders.stop() }
        let token = try controlToken(of: run)
        func answer() throws -> (seconds: Double, status: RunStatus) {
            let start = ContinuousClock.now
            let body = try RawConnection.request("GET", "/v1/runs/load", port: endpoint.port, token: token)?.body ?? ""
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            return (seconds, try CoordinatorJSON.decode(RunStatus.self, from: Data(body.utf8)))
        }
        let deadline = Date(timeIntervalSinceNow: 60)
        while try answer().status.ranks.count < Self.ranks {
            try #require(Date() < deadline, "not all ranks were heard")
            sleep(1)
        }

        let pid = coordinator.pid
        let before = try coordinator.processorSeconds, sent = senders.sent, start = ContinuousClock.now
        var answers: [Double] = [], commands: [Double] = [], memory = 0
        while (ContinuousClock.now - start) / .seconds(1) < Self.seconds {
            let (seconds, status) = try answer()
            answers.append(seconds)
            #expect(status.ranks.allSatisfy { $0.condition == .ok })
            let commandStart = ContinuousClock.now
            #expect(try Command("tf-coord").run("status", run, "--json").status == 0)
            commands.append((ContinuousClock.now - commandStart) / .seconds(1))
            memory = max(memory, try residentBytes(of: pid))
            sleep(2)
        }
        let elapsed = (ContinuousClock.now - start) / .seconds(1)
        let share = (try coordinator.processorSeconds - before) / elapsed
        let rate = Double(senders.sent - sent) / elapsed
        print(
            String(
                format:
                    "%d ranks, %.0f heartbeats a second: %.1f %% of a core, %.0f MiB; status answers in %.0f ms at most "
                    + "(median %.0f), the command in %.0f ms; %d heartbeats failed",
                Self.ranks, rate, 100 * share, Double(memory) / 1048576, 1000 * (answers.max() ?? 0),
                1000 * answers.sorted()[answers.count / 2], 1000 * commands.sorted()[commands.count / 2],
                senders.failed))
        #expect(senders.failed == 0)
        #expect(rate > 0.9 * Double(Self.ranks) / 2)
        #expect(share < 0.25 && memory < 200 << 20)
        #expect(answers.sorted()[answers.count * 9 / 10] < 0.2)
    }

    private func waitForLaunch(of run: String) throws -> String {
        let deadline = Date(timeIntervalSinceNow: 30)
        while Date() < deadline {
            if let data = FileManager.default.contents(atPath: run + "/coordinator/state.json"),
                let state = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
                let launch = state["launch"] as? [String: Any], let id = launch["id"] as? String
            {
                return id
            }
            usleep(100_000)
        }
        throw Problem("tf-coord launches nothing")
    }

    private func controlToken(of run: String) throws -> String {
        let data = try Data(contentsOf: URL(filePath: run + "/coordinator/control.json"))
        return try CoordinatorJSON.decode(ControlEndpoint.self, from: data).token
    }
}

/// Threads that send the heartbeats of many ranks, with the channel that real ranks use.
private final class Senders: Sendable {
    private static let threads = 8

    private let ranks: Int
    private let file: String
    private let launch: String
    private let isStopped = Atomic(false)
    private let successes = Atomic(0)
    private let failures = Atomic(0)

    var sent: Int { successes.load(ordering: .relaxed) }
    var failed: Int { failures.load(ordering: .relaxed) }

    init(ranks: Int, file: String, launch: String) {
        self.ranks = ranks
        self.file = file
        self.launch = launch
    }

    func start() {
        for thread in 0..<Self.threads { Thread.detachNewThread { [self] in send(thread) } }
    }

    func stop() { isStopped.store(true, ordering: .relaxed) }

    private func send(_ thread: Int) {
        let channels = stride(from: thread, to: ranks, by: Self.threads).map {
            (rank: $0, channel: HeartbeatChannel(endpointFile: file, launch: launch))
        }
        var round = 0
        while !isStopped.load(ordering: .relaxed) {
            round += 1
            let begin = ContinuousClock.now
            for (index, (rank, channel)) in channels.enumerated() {
                var heartbeat = Heartbeat(
                    rank: rank, host: "node\(rank / 2)", pid: getpid(), step: round, phase: .compute,
                    phaseSeconds: 0.1, time: Date().timeIntervalSince1970, memoryBytes: 1 << 30)
                heartbeat.collective = "end of backward"
                heartbeat.collectiveGroup = "world"
                heartbeat.collectiveSeconds = 0.1
                heartbeat.computeSeconds = 1 + Double(rank % 7) / 100
                heartbeat.waitSeconds = 0.1
                let isTaken = (try? heartbeat.json()).flatMap { try? channel.send($0) } != nil
                if isTaken { successes.add(1, ordering: .relaxed) } else { failures.add(1, ordering: .relaxed) }
                // Spread evenly over the two seconds.
                let due = begin + .seconds(2) * (Double(index + 1) / Double(channels.count))
                let left = (due - .now) / .seconds(1)
                if left > 0 { usleep(UInt32(left * 1e6)) }
            }
        }
    }
}
