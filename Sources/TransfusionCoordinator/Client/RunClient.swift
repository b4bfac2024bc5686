internal import AsyncHTTPClient
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
public import TransfusionConfig
internal import TransfusionTelemetry

/// Asks the coordinator of a run; falls back on the files of its directory where that makes sense.
public struct RunClient: Sendable {
    public let directory: RunDirectory
    private let files: RunFiles
    private let timeout = TimeAmount.seconds(5)

    public init(_ directory: RunDirectory) {
        self.directory = directory
        files = RunFiles(directory)
    }

    /// The status, from the coordinator or else from files.
    public func status() async throws -> RunStatus {
        if let data = try? await ask("", .GET), let status = try? CoordinatorJSON.decode(RunStatus.self, from: data) {
            return status
        }
        return try files.readStatus()
    }

    /// - Throws: `CommandFailure` when no coordinator supervises the run.
    public func stop(now: Bool) async throws {
        _ = try await ask("/stop?now=\(now)", .POST)
    }

    /// - Returns: nil when there is no log yet.
    public func log(launch: Int?, from offset: Int?) -> LogAnswer? {
        // The log lies beside the run, so that a path to the run is all that is needed.
        files.log(launch: launch, from: offset)
    }

    /// What the run was last started with.
    public func request() throws -> RunRequest {
        guard let request = files.read(RunRequest.self, from: files.request) else {
            throw CommandFailure(
                "\(directory.path): was not started by tf-coord; start it with 'tf-coord run CONFIG --run-dir \(directory.path)'",
                .wrongUse)
        }
        return request
    }

    public var isSupervised: Bool { files.isSupervised }

    private func ask(_ path: String, _ method: HTTPMethodName) async throws -> Data {
        guard files.isSupervised, let endpoint = files.read(ControlEndpoint.self, from: files.control) else {
            throw CommandFailure("\(directory.path): no tf-coord supervises this run; 'tf-coord resume' continues it")
        }
        var request = HTTPClientRequest(url: "\(endpoint.url)/v1/runs/\(endpoint.run)\(path)")
        request.method = method == .GET ? .GET : .POST
        request.headers.add(name: "Authorization", value: "Bearer \(endpoint.token)")
        let response: HTTPClientResponse
        do {
            response = try await HTTPClient.shared.execute(request, timeout: timeout)
        } catch {
            throw CommandFailure("\(endpoint.url): the coordinator of \(directory.path) does not answer (\(error))")
        }
        let body = try await response.body.collect(upTo: 64 << 20)
        guard (200..<300).contains(response.status.code) else {
            throw CommandFailure(
                "\(endpoint.url): the coordinator refuses (\(response.status.code)): \(String(buffer: body).prefix(300))"
            )
        }
        return Data(body.readableBytesView)
    }

    private enum HTTPMethodName {
        case GET, POST
    }
}

extension RunFiles {
    /// The last status that a coordinator wrote, brought up to date with what ranks, metrics and checkpoints say.
    func readStatus() throws(CommandFailure) -> RunStatus {
        let now = Date().timeIntervalSince1970
        var metrics = MetricsTail(path: directory.metrics)
        metrics.refresh()
        let checkpoints = CheckpointWatch(directory, verifies: false)
        checkpoints.refresh()
        var status: RunStatus
        if let written = read(RunStatus.self, from: self.status) {
            status = written
        } else {
            guard let configuration = try? RunConfiguration.load(directory.configuration) else {
                throw CommandFailure("\(directory.path): holds no run yet")
            }
            status = RunStatus(
                run: configuration.name, directory: directory.path, state: .running, time: now, step: 0,
                steps: configuration.schedule.steps)
        }
        let wasFinal = status.state.isFinal
        status.source = .files
        status.etaSeconds = nil
        let verified = status.lastCheckpoint.flatMap { $0.step == checkpoints.step ? $0.verified : nil }
        status.lastCheckpoint = checkpoints.status(at: now)
        status.lastCheckpoint?.verified = verified
        if let record = metrics.latest {
            status.step = max(record.step, wasFinal ? status.step : 0)
            status.percent = status.steps > 0 ? 100 * Double(status.step) / Double(status.steps) : 0
            status.losses = RunStatus.Losses(
                total: record.loss, text: record.lossText, image: record.lossImage,
                gradientNorm: record.gradientNorm, learningRate: record.learningRate)
            status.tokensPerSecond = record.tokensPerSecond
            status.mfu = record.modelFLOPsUtilization
        }
        guard !wasFinal else { return status }
        let heartbeats = Heartbeat.readAll(in: directory.heartbeats)
        status.ranks = heartbeats.map { heartbeat in
            let age = max(0, now - heartbeat.time)
            let isFinished = heartbeat.phase == .finished
            return RunStatus.RankStatus(
                heartbeat, age: age, condition: isFinished || age < 6 ? .ok : age < 30 ? .stale : .dead)
        }
        let isAlive = status.ranks.contains { $0.heartbeatAge < 30 && $0.phase != .finished }
        status.warnings = [
            isAlive
                ? "no coordinator answers, but ranks send heartbeats; 'tf-coord resume \(directory.path)' takes over"
                : "no coordinator answers and no rank sends heartbeats; 'tf-coord resume \(directory.path)' continues the run"
        ]
        return status
    }
}
