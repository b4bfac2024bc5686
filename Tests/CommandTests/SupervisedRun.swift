import Foundation
import Testing
import TransfusionCoordinator
import TransfusionSupport
import _TestUtilities

/// A run of a tiny model under `tf-coord run`, which a test disturbs and watches.
final class SupervisedRun {
    let directory: String
    private let configuration: String
    private let output: String
    private(set) var process: RunningCommand?

    static let steps = 2500

    /// - Parameter name: Of the run; runs of the same data set and configuration end with the same bits.
    /// - Parameter more: Further keys of the configuration.
    init(_ name: String, in temporary: TemporaryDirectory, dataset: SmallDataset, adding more: String = "") throws {
        directory = temporary.file(name)
        configuration = temporary.file("run.yaml")
        output = temporary.file(name + ".out")
        try """
        model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: \(Self.steps), learning_rate: 3e-3, minimum_learning_rate: 1e-4, warmup_steps: 3}
        batch: {sequence_length: 64, global_sequences: 4}
        parallel: {threads: 1, reduction: elastic}
        precision: f32
        checkpoint: {every_steps: 100}
        telemetry: {tensorboard: false}
        supervision: {heartbeat_timeout: 6, step_timeout: 30, backoff: 0.1}
        \(more)
        """.write(toFile: configuration, atomically: true, encoding: .utf8)
    }

    deinit {
        // Whatever a failed test has left.
        process?.send(SIGKILL)
        for pid in processes { kill(pid, SIGKILL) }
    }

    func start(_ more: [String] = [], environment: [String: String?] = [:]) throws {
        let arguments = ["run", configuration, "--ranks", "2", "--run-dir", directory] + more
        process = try Command("tf-coord").start(arguments, environment: environment, output: output)
    }

    /// Starts it with few descriptors.
    func start(descriptors: Int, _ more: [String] = []) throws {
        let arguments = ["run", configuration, "--ranks", "2", "--run-dir", directory] + more
        process = try Command("tf-coord").limited(toDescriptors: descriptors).start(arguments, output: output)
    }

    /// The status as a script sees it; nil when there is none yet.
    var status: RunStatus? {
        guard let result = try? Command("tf-coord").run("status", directory, "--json"), result.status == 0 else {
            return nil
        }
        return try? CoordinatorJSON.decode(RunStatus.self, from: Data(result.output.utf8))
    }

    /// The status as the coordinator tells it; nil when none answers. Starting a program each time would take a core from the run.
    private var toldStatus: RunStatus? {
        guard let data = FileManager.default.contents(atPath: directory + "/coordinator/control.json"),
            let endpoint = try? CoordinatorJSON.decode(ControlEndpoint.self, from: data),
            let socket = endpoint.socket.flatMap({ try? PrivateSocket($0) }),
            let descriptor = socket.connect(patience: 5)
        else { return nil }
        let connection = RawConnection(connected: descriptor)
        connection.send(
            "GET /v1/runs/\(endpoint.run) HTTP/1.1\r\nHost: run\r\nAuthorization: Bearer \(endpoint.token)\r\n\r\n")
        return connection.answer().flatMap { try? CoordinatorJSON.decode(RunStatus.self, from: Data($0.body.utf8)) }
    }

    /// Waits until something holds of the status.
    func wait(_ what: String, seconds: Double = 120, until holds: (RunStatus) -> Bool) throws -> RunStatus {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while Date() < deadline {
            if let status = toldStatus ?? status, holds(status) { return status }
            if process?.isRunning == false, status?.state.isFinal != true { break }
            usleep(20_000)
        }
        throw Problem("\(what): not within \(seconds) s; \(log)")
    }

    func stop(now: Bool) throws {
        let stopped = try Command("tf-coord").run(["stop", directory] + (now ? ["--now"] : []))
        guard stopped.status == 0 else { throw Problem("stop: \(stopped.errors)") }
    }

    /// Waits for the end of tf-coord.
    func finish() throws -> Int32 {
        do {
            return try #require(process).wait().status
        } catch {
            throw Problem("\(error); \(log)")
        }
    }

    /// The process of mpirun in the present launch.
    var launcher: Int32? {
        guard let data = FileManager.default.contents(atPath: directory + "/coordinator/state.json"),
            let state = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
            let launch = state["launch"] as? [String: Any], let pid = launch["pid"] as? Int32, pid > 0
        else { return nil }
        return pid
    }

    /// Every process that was started for this run, on this host.
    var processes: [Int32] {
        let mark = Data("TRANSFUSION_COORDINATOR=\(directory)/coordinator/worker.json\0".utf8)
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.filter { pid in
            guard let file = FileHandle(forReadingAtPath: "/proc/\(pid)/environ") else { return false }
            defer { try? file.close() }
            return (try? file.readToEnd())?.range(of: mark) != nil
        }
    }

    func checkpoint(_ step: Int = steps) -> String {
        "\(directory)/checkpoints/step-" + String(repeating: "0", count: 8 - "\(step)".count) + "\(step)"
    }

    /// What the ranks have printed, one text a launch.
    var launchLogs: [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory + "/logs"))?.sorted() ?? []
        return names.map { (try? String(contentsOfFile: "\(directory)/logs/\($0)", encoding: .utf8)) ?? "" }
    }

    /// What tf-coord and the ranks have printed.
    var log: String {
        let logs = (try? FileManager.default.contentsOfDirectory(atPath: directory + "/logs"))?.sorted() ?? []
        let paths = [output] + logs.map { "\(directory)/logs/\($0)" }
        return paths.map { path in
            let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            return "--- \(path)\n" + text.suffix(1500)
        }.joined(separator: "\n")
    }
}

struct Problem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
