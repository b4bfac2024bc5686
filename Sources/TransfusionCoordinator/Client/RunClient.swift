internal import Foundation
public import TransfusionConfig
internal import TransfusionSupport
internal import TransfusionTelemetry

/// A run, asked through its coordinator; falls back on the files of its directory where that makes sense.
public struct RunClient: Sendable {
    public let directory: RunDirectory
    private let files: RunFiles
    /// The daemon that serves the runs of this place, whether or not it knows this one.
    private let daemon: DaemonEndpoint?

    public init(_ directory: RunDirectory, daemon: DaemonEndpoint? = nil) {
        self.directory = directory
        self.daemon = daemon
        files = RunFiles(directory)
    }

    /// Whoever can be asked for the run: its supervisor, or else a daemon that keeps it.
    private var coordinator: (client: CoordinatorClient, run: String)? {
        if files.isSupervised, let endpoint = files.read(ControlEndpoint.self, from: files.control) {
            return (CoordinatorClient(url: endpoint.url, socket: endpoint.socket, token: endpoint.token), endpoint.run)
        }
        guard let daemon, FileIdentity.areSame(Paths.parent(of: directory.path), daemon.root) else { return nil }
        return (CoordinatorClient(daemon), Paths.name(of: directory.path))
    }

    /// The status, from the coordinator or else from files.
    public func status() async throws -> RunStatus {
        if let (client, run) = coordinator, let status = try? await client.status(of: run) { return status }
        return try files.readStatus()
    }

    /// - Throws: `CommandFailure` when no coordinator supervises the run.
    public func stop(now: Bool) async throws {
        guard let (client, run) = coordinator else {
            throw CommandFailure(
                "\(directory.path): no tf-coord supervises this run\(files.advice("continues it"))")
        }
        try await client.stop(run, now: now)
    }

    /// Lets the daemon that keeps the run continue it.
    /// - Returns: false when there is none, and the run has to be continued in the foreground.
    public func resumeByDaemon() async throws -> Bool {
        guard let (client, run) = coordinator else { return false }
        if !files.isSupervised, (try? await client.status(of: run)) == nil { return false }
        try await client.resume(run)
        return true
    }

    /// An address that shows the run in a browser, and signs it in.
    public func dashboard() async throws -> String {
        guard let (client, _) = coordinator else {
            throw CommandFailure(
                "\(directory.path): no tf-coord supervises this run; start 'tf-coord serve' or continue it")
        }
        return try await client.dashboard()
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
        status.lastCheckpoint = checkpoints.status
        status.lastCheckpoint?.verified = verified
        if let record = metrics.latest {
            if !wasFinal { status.step = 0 }
            status.advance(to: record.step)
            status.losses = RunStatus.Losses(record)
            status.tokensPerSecond = record.tokensPerSecond
            status.mfu = record.modelFLOPsUtilization
        }
        guard !wasFinal else { return status }
        // The last step may be newer than the last record.
        if let step = checkpoints.step { status.advance(to: step) }
        let heartbeats = Heartbeat.readAll(in: directory.heartbeats)
        status.version = heartbeats.lazy.compactMap(\.version).first ?? status.version
        status.ranks = heartbeats.map { heartbeat in
            let age = heartbeat.mark?.seconds(until: .now) ?? max(0, now - heartbeat.time)
            let isFinished = heartbeat.phase == .finished
            return RunStatus.RankStatus(
                heartbeat, age: age, condition: isFinished || age < 6 ? .ok : age < 30 ? .stale : .dead)
        }
        let isAlive = status.ranks.contains { $0.heartbeatAge < 30 && $0.phase != .finished }
        let haveFinished = !heartbeats.isEmpty && heartbeats.allSatisfy { $0.phase == .finished }
        status.warnings = []
        if isAlive {
            status.warnings = ["no coordinator answers, but ranks send heartbeats\(advice("takes over"))"]
        } else if checkpoints.step ?? 0 >= status.steps {
            // The last step is saved before the ranks end.
            status.state = .done
        } else {
            if haveFinished { status.state = .stopped }
            let problem =
                haveFinished
                ? "all ranks have ended, without a checkpoint of the last step"
                : "no coordinator answers and no rank sends heartbeats"
            status.warnings = [problem + advice("continues the run")]
        }
        status.warnings += SaveWarnings.failures(heartbeats)
        return status
    }

    /// What 'tf-coord resume' would do; nothing where it would refuse, as for a run that only tf-worker has started, or
    /// that of another user.
    fileprivate func advice(_ effect: String) -> String {
        read(RunRequest.self, from: request) == nil ? "" : "; 'tf-coord resume \(directory.path)' \(effect)"
    }
}

extension RunStatus {
    fileprivate mutating func advance(to step: Int) {
        self.step = max(self.step, step)
        percent = steps > 0 ? 100 * Double(self.step) / Double(steps) : 0
    }
}
