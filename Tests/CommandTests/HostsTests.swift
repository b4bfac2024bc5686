import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// A run of tf-coord on four hosts, reached from a fifth over ssh.
@Suite(
    .serialized, .oneSuiteAtATime, .timeLimit(.minutes(15)),
    .enabled(if: NetworkHosts.obstacle == nil, "\(NetworkHosts.obstacle ?? "")"))
struct HostsTests {
    private let temporary: TemporaryDirectory
    private let dataset: SmallDataset
    private let hosts: NetworkHosts
    private let configuration: String
    private let directory: String
    /// The host of the coordinator, and those of the ranks.
    private static let head = 0, nodes = 1...4

    init() throws {
        temporary = try TemporaryDirectory()
        dataset = try SmallDataset()
        hosts = try NetworkHosts(5)
        directory = temporary.file("run")
        configuration = temporary.file("run.yaml")
        // A constant learning rate: nobody knows at which step the run will be stopped.
        try """
        model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 1000000, learning_rate: 3e-3, minimum_learning_rate: 3e-3, warmup_steps: 3}
        batch: {sequence_length: 64, global_sequences: 4}
        parallel: {threads: 1, reduction: elastic}
        precision: f32
        checkpoint: {every_steps: 50}
        telemetry: {tensorboard: false}
        supervision: {heartbeat_timeout: 6, step_timeout: 60, start_timeout: 90, save_timeout: 60, backoff: 0.1}
        """.write(toFile: configuration, atomically: true, encoding: .utf8)
        // Written in several hands: one host is reached as a user that is named.
        let names = Self.nodes.map { hosts.addresses[$0] }
        try "\(names[0]) slots=2\r\n\(names[1]):2\r\n\(names[2]) slots=2 # spare\r\nroot@\(names[3]) slots = 2\r\n"
            .write(toFile: temporary.file("hosts"), atomically: true, encoding: .utf8)
    }

    private func coordinator(_ arguments: String...) throws -> RunningCommand {
        try hosts.start([Command("tf-coord").path] + arguments, on: Self.head, output: temporary.file("out"))
    }

    private func status() throws -> RunStatus? {
        let result = try hosts.start([Command("tf-coord").path, "status", directory, "--json"], on: Self.head).wait()
        return result.status == 0 ? try? CoordinatorJSON.decode(RunStatus.self, from: Data(result.output.utf8)) : nil
    }

    private func wait(
        _ what: String, _ run: RunningCommand, seconds: Double = 150, until holds: (RunStatus) -> Bool
    ) throws -> RunStatus {
        let deadline = Date(timeIntervalSinceNow: seconds)
        var last: RunStatus?
        while Date() < deadline, run.isRunning {
            last = try status() ?? last
            if let last, holds(last) { return last }
            usleep(200_000)
        }
        let logs = (try? FileManager.default.contentsOfDirectory(atPath: directory + "/logs"))?.sorted() ?? []
        let texts = ([temporary.file("out")] + logs.map { "\(directory)/logs/\($0)" }).map { path in
            "--- \(path)\n" + ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").suffix(2000)
        }
        throw Problem("\(what): not within \(seconds) s; \(String(describing: last)); \(texts.joined(separator: "\n"))")
    }

    /// Waits until all ranks have trained beyond a step, on as many hosts.
    private func trains(_ run: RunningCommand, on count: Int, beyond step: Int) throws -> RunStatus {
        try wait("training on \(count) hosts beyond step \(step)", run) { status in
            status.state == .running && status.ranks.count == 4 && status.step > step
                && Set(status.ranks.map(\.host)).count == count
                && status.layout?.hosts.filter { $0.condition == .used }.count == count
        }
    }

    private func loses(_ host: Int, _ run: RunningCommand, _ recoveries: Int) throws {
        let name = hosts.addresses[host]
        let status = try wait("the loss of \(name)", run) { $0.recoveries.count == recoveries }
        let recovery = try #require(status.recoveries.last)
        #expect(recovery.cause.kind == .host && recovery.cause.host == name, "\(recovery.cause.summary)")
        // The bound of silence, and what it takes to see that the host does not answer.
        #expect(recovery.detected < 30, "\(recovery)")
    }

    @Test func trainingGoesOnWithoutHostsThatAreLostAndWithThemWhenTheyReturn() throws {
        let run = try coordinator(
            "run", configuration, "--hosts", temporary.file("hosts"), "--ranks", "4", "--run-dir", directory)
        var status = try trains(run, on: 4, beyond: 60)
        #expect(status.recoveries.isEmpty)

        // One loses its power. Four ranks go on on three hosts: the sums, and so the bits, stay the same.
        hosts.stop(2)
        try loses(2, run, 1)
        status = try trains(run, on: 3, beyond: status.step + 10)
        #expect(status.layout?.hosts.first { $0.name == hosts.addresses[2] }?.condition == .away)
        try hosts.start(2)
        status = try trains(run, on: 4, beyond: status.step + 10)

        // One is cut off, with processes that go on.
        try hosts.setLink(3, up: false)
        try loses(3, run, 2)
        status = try trains(run, on: 3, beyond: status.step + 10)
        try hosts.setLink(3, up: true)
        status = try trains(run, on: 4, beyond: status.step + 10)
        #expect(status.restarts.count == 2, "to grow is no failure")

        // All are cut off for a while: the run waits for them.
        for host in Self.nodes { try hosts.setLink(host, up: false) }
        status = try wait("the loss of all hosts", run) { $0.recoveries.count == 3 }
        #expect(status.recoveries.last?.cause.kind == .host)
        for host in Self.nodes { try hosts.setLink(host, up: true) }
        status = try trains(run, on: 4, beyond: status.step + 10)

        _ = try coordinator("stop", directory, "--wait").wait()
        #expect(try run.wait().status == 85)
        for host in Self.nodes {
            let left = try hosts.processes(host).filter { line in
                ["tf-worker", "orted", "mpirun"].contains { line.contains($0) }
            }
            #expect(left.isEmpty, "left on host \(host)")
        }

        // One rank alone, never disturbed, to the step at which the run was stopped.
        let steps = try #require(try self.status()?.lastCheckpoint?.step)
        let alone = temporary.file("alone")
        let undisturbed = try Command("tf-worker").run(
            "--config", configuration, "--run-dir", alone, "--steps", "\(steps)", "--set", "checkpoint.every_steps=off")
        #expect(undisturbed.status == 0, "\(undisturbed.errors)")
        let difference = try Command("tf-ckpt").run("diff", alone, directory)
        #expect(difference.status == 0, "\(difference.output)\(difference.errors)")
        let losses = try [alone, directory].map { try loggedLosses(ofRun: $0) }
        #expect(losses[0].count == steps && losses[0] == losses[1])
    }
}
