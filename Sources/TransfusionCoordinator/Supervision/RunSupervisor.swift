internal import Foundation
public import TransfusionConfig
internal import TransfusionSupport
public import TransfusionTelemetry

/// Keeps one run going until it is done: launches it, watches it, and after a failure kills what is left and launches it
/// again from its newest checkpoint.
public actor RunSupervisor {
    /// What a supervisor tells the person who looks on.
    public typealias Log = @Sendable (String) -> Void

    let request: RunRequest
    let configuration: RunConfiguration
    let files: RunFiles
    let log: Log
    private let lock: FileHandle
    let checkpoints: CheckpointWatch
    var hosts: HostHealth

    var state: SupervisorState
    var phase = RunStatus.State.starting
    var detector: FailureDetector?
    var metrics: MetricsTail
    /// Where the ranks go on after a restart, until the first step is done.
    private var resumedStep: Int?
    /// The most steps that a launch has done.
    var furthestStep = 0
    private var stopRequests = 0
    /// Until when ranks that were asked to save must have ended.
    var stopDeadline: Double?
    /// Whether the ranks of this launch are asked to save and to end because a larger layout is possible.
    var isGrowing = false
    /// The hosts that this launch, or the one that is being prepared, has and the one before had not, until it moves on.
    var newcomers: Set<String> = []
    var lastHostSearch = -Double.infinity
    var isSearchingHosts = false
    /// How the hosts of the run differ from each other.
    var hostDifferences: [String] = []
    private var lastStatusWrite = -Double.infinity
    private var lastRefresh = -Double.infinity
    /// When each rank's process was last seen alive.
    var lastSeen: [Int: Double] = [:]
    /// When mpirun was last seen alive.
    var lastSeenLauncher = 0.0
    /// The last sign that all was well before the last failure.
    var baseline = 0.0
    /// When the failure was found that is being dealt with.
    var detected: Double?

    /// How often the processes and heartbeats are looked at.
    private static let tick = Duration.milliseconds(100)

    /// Becomes the coordinator of a run.
    /// - Throws: `CommandFailure` when another coordinator supervises the run, `RunDirectoryError` when the directory
    ///   belongs to another run.
    public init(_ request: RunRequest, log: @escaping Log) throws {
        let directory = RunDirectory(request.directory)
        let files = RunFiles(directory)
        let configuration = try RunConfiguration(
            yaml: request.configuration, file: "configuration of \(request.directory)")
        try directory.check(configuration)
        try files.make()
        lock = try files.lock()
        try AtomicFile.write(configuration.resolved.utf8, to: files.configuration)
        try files.write(request, to: files.request, durable: true)
        self.request = request
        self.configuration = configuration
        self.files = files
        self.log = log
        checkpoints = CheckpointWatch(directory)
        metrics = MetricsTail(path: directory.metrics, spikeLimit: configuration.supervision.lossSpike)
        hosts = HostHealth(request.hosts, shell: RemoteShell(request.remoteShell))
        state = try SupervisorState(files, run: configuration.name)
    }

    public nonisolated var runName: String { configuration.name }
    public nonisolated var directory: RunDirectory { files.directory }

    // MARK: What others ask

    /// Asks the run to save and end; asked again, or with `now`, it ends at once.
    public func stop(now: Bool) {
        stopRequests = max(stopRequests + 1, now ? 2 : 1)
    }

    /// Takes a heartbeat; one of another launch than the present is ignored.
    public func receive(_ heartbeat: Heartbeat, launch: String) -> HeartbeatAnswer {
        guard launch == state.launch?.id else { return HeartbeatAnswer(stop: false) }
        detector?.receive(heartbeat, at: MonotonicTime.seconds)
        return HeartbeatAnswer(stop: stopRequests > 0 || isGrowing)
    }

    // MARK: The run

    /// Supervises the run to its end.
    /// - Parameters:
    ///   - endpoint: Where the ranks shall send their heartbeats.
    ///   - control: Where commands can ask for the run.
    public func run(endpoint: HeartbeatEndpoint, control: ControlEndpoint) async throws -> RunStatus.Exit {
        try files.writeEndpoint(endpoint)
        try files.write(control, to: files.control, durable: false)
        defer { unlink(files.control) }
        let now = Date().timeIntervalSince1970
        if let ended = state.ended { state.pausedSeconds += max(0, now - ended) }
        state.started = state.started ?? now
        state.ended = nil
        state.exit = nil
        do {
            return try await superviseLaunches()
        } catch {
            return await finish(.failed, code: error.code.rawValue, error.description)
        }
    }

    /// Launches until there is an end to it.
    /// - Throws: `CommandFailure` when there can be no other launch.
    private func superviseLaunches() async throws(CommandFailure) -> RunStatus.Exit {
        var adopted = try await adoptLaunch()
        refresh(force: true)
        while true {
            let launch: MPILaunch
            if let found = adopted {
                launch = found
                adopted = nil
            } else {
                guard let started = try await start() else {
                    return await finish(.stopped, code: 85, "stopped before it was launched")
                }
                launch = started
            }
            let end = await watch(launch)
            switch end {
            case .finished: return await finish(.done, code: 0, "all \(configuration.schedule.steps) steps are done")
            case .stopped where isGrowing && stopRequests == 0: try await killAll()
            case .stopped: return await finish(.stopped, code: 85, "stopped on request; 'tf-coord resume' continues it")
            case .refused(let cause) where newcomers.isEmpty:
                return await finish(.failed, code: cause.exitCode ?? 1, cause.summary)
            case .refused(let cause), .failed(let cause):
                guard let wait = try await recover(cause) else {
                    let limit = configuration.supervision.restarts
                    return await finish(
                        .failed, code: 1,
                        cause.kind == .nonFinite
                            ? cause.summary
                            : "\(cause.summary); that was failure \(state.budget.failures) without a new checkpoint between "
                                + "them, and supervision.restarts is \(limit)")
                }
                await pause(wait)
            }
        }
    }

    private func finish(_ phase: RunStatus.State, code: Int32, _ reason: String) async -> RunStatus.Exit {
        // Also after an end in good order, nothing may be left.
        do { try await killAll() } catch { log("warning: \(error)") }
        self.phase = phase
        let exit = RunStatus.Exit(code: code, reason: reason)
        state.exit = exit
        state.ended = Date().timeIntervalSince1970
        detector = nil
        refresh(force: true)
        await checkpoints.settle(seconds: 10)
        save()
        writeStatus()
        return exit
    }

    /// Waits, unless a stop is asked for.
    func pause(_ seconds: Double, _ what: String = "restarting") async {
        let end = MonotonicTime.seconds + seconds
        if seconds > 0 { log("\(what) in \(Int(seconds.rounded(.up))) s") }
        while MonotonicTime.seconds < end, stopRequests == 0 {
            refresh()
            try? await Task.sleep(for: Self.tick)
        }
    }

    // MARK: Launching

    /// - Returns: nil when the run shall stop before there are hosts for it.
    private func start() async throws(CommandFailure) -> MPILaunch? {
        guard let layout = try await chooseLayout() else { return nil }
        state.launches += 1
        let record = LaunchRecord(
            id: "\(state.identity).\(state.launches)", number: state.launches, pid: 0, hosts: layout.ranksOnHosts,
            data: layout.data,
            tensor: layout.tensor)
        state.launch = record
        save()
        Heartbeat.removeStale(in: directory.heartbeats, ranks: 0)
        metrics.restart()
        var overrides: [String] = []
        if let wanted = configuration.parallel.data, wanted != layout.data {
            overrides = ["--set", "parallel.data=\(layout.data)"]
        }
        let command = MPICommandLine(
            record, request: request, files: files, hosts: hosts, extra: overrides)
        let places = layout.ranksOnHosts.map { "\($0.slots) on \($0.name)" }.joined(separator: ", ")
        log("launch \(record.number): \(layout.ranks) ranks (data \(layout.data) × tensor \(layout.tensor)): \(places)")
        beginWatching(record, as: .starting)
        let launch = MPILaunch(
            arguments: command.arguments, environment: command.environment, directory: request.workingDirectory,
            log: files.log(ofLaunch: record.number))
        // Until there is a process there is nothing that the next coordinator could find.
        while launch.pid == nil, launch.end == nil { try? await Task.sleep(for: .milliseconds(5)) }
        state.launch?.pid = launch.pid ?? 0
        save()
        updateRecovery { $0.relaunched = $1 }
        return launch
    }

    /// When the status was written for the last time, by this coordinator or the one before it; in seconds since 1970.
    private var lastStatusTime: Double {
        let attributes = try? FileManager.default.attributesOfItem(atPath: files.status)
        return (attributes?[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
    }

    /// Finds the processes that an earlier coordinator left: goes on with them if mpirun lives, else ends them.
    private func adoptLaunch() async throws(CommandFailure) -> MPILaunch? {
        guard let record = state.launch else { return nil }
        let processes = await processesLeft()
        guard record.pid > 0, processes.contains(record.pid) else {
            log("the coordinator was ended in launch \(record.number), of which no mpirun is left")
            let cause = FailureCause(
                .coordinator, summary: "the coordinator was ended in launch \(record.number), and mpirun as well")
            _ = try await recover(cause)
            return nil
        }
        log("taking over launch \(record.number), which went on when the coordinator was ended")
        // What it does without may be left out for a reason that is forgotten.
        hosts.leave(Set(hosts.remoteNames).subtracting(record.hosts.map(\.name)))
        let lastStatusTime = lastStatusTime
        beginWatching(record, as: .running)
        for heartbeat in Heartbeat.readAll(in: directory.heartbeats) {
            detector?.receive(heartbeat, at: MonotonicTime.seconds)
        }
        // Nothing was lost but the watch over the run.
        let now = Date().timeIntervalSince1970
        var recovery = RunStatus.Recovery(
            time: now, launch: record.number,
            cause: FailureCause(
                .coordinator, summary: "the coordinator was ended; launch \(record.number) went on and was taken over"),
            detected: max(0, now - lastStatusTime))
        recovery.loaded = recovery.detected
        recovery.firstStep = recovery.detected
        recovery.lostSteps = 0
        state.recoveries.append(recovery)
        save()
        return MPILaunch(adopting: record.pid)
    }

    private func beginWatching(_ record: LaunchRecord, as phase: RunStatus.State) {
        self.phase = phase
        detector = FailureDetector(ranks: record.ranks, bounds: configuration.supervision, at: MonotonicTime.seconds)
        lastSeen = [:]
        resumedStep = nil
        stopDeadline = nil
        isGrowing = false
        refresh(force: true)
    }

    // MARK: Watching

    /// How a launch ended.
    enum LaunchEnd {
        case finished
        case stopped
        /// It failed, and would fail in the same way again.
        case refused(FailureCause)
        case failed(FailureCause)
    }

    private func watch(_ launch: MPILaunch) async -> LaunchEnd {
        let memoryKills = ProcessTable.outOfMemoryKills
        var sentRequests = 0
        while true {
            let now = MonotonicTime.seconds
            if let end = launch.end { return judge(end, memoryKills: memoryKills) }
            lastSeenLauncher = now
            if launch.wasAskedToEnd { stopRequests = max(stopRequests, 1) }
            if stopRequests > sentRequests {
                sentRequests = stopRequests
                await passOnStop(launch)
            }
            if let stopDeadline, now > stopDeadline {
                guard stopRequests > 0 else {
                    let summary = "hang: the ranks did not save and end within supervision.save_timeout"
                    return .failed(FailureCause(.hang, summary: summary, details: await stacks()))
                }
                log("the ranks did not save within supervision.save_timeout; ending them")
                stopRequests = max(stopRequests, 2)
                self.stopDeadline = nil
            }
            lookAtProcesses(now)
            lookForLargerLayout(now)
            if let finding = detector?.finding(at: now) {
                return await investigate(finding, launch, memoryKills: memoryKills)
            }
            advance()
            refresh()
            try? await Task.sleep(for: Self.tick)
        }
    }

    private func passOnStop(_ launch: MPILaunch) async {
        if stopRequests == 1 {
            phase = .stopping
            stopDeadline = MonotonicTime.seconds + configuration.supervision.saveTimeout
            // The answers to heartbeats tell the ranks.
            log("stopping: the ranks save at the end of their step; once more ends them at once")
        } else {
            log("ending the ranks at once")
            ProcessTable.signal(ProcessTable.survey(ofRun: state.identity).processes, SIGKILL)
        }
    }

    /// Moves on with what the heartbeats say, and keeps the timeline of a recovery.
    private func advance() {
        guard let detector, let step = detector.step else { return }
        if detector.hasStarted {
            if resumedStep == nil {
                resumedStep = step
                metrics.restart()
                updateRecovery { recovery, seconds in
                    recovery.loaded = seconds
                    recovery.lostSteps = max(0, furthestStep - step)
                }
            }
            if let resumedStep, step > resumedStep { updateRecovery { $0.firstStep = $0.firstStep ?? $1 } }
            furthestStep = max(furthestStep, step)
        }
        guard phase != .stopping else { return }
        let isSaving = detector.heartbeats(at: MonotonicTime.seconds).contains { $0.heartbeat.phase == .checkpoint }
        phase = !detector.hasStarted ? .starting : isSaving ? .saving : .running
    }

    // MARK: Files

    func save() {
        do {
            try files.write(state, to: files.state, durable: true)
        } catch {
            log("warning: \(error)")
        }
    }

    /// Looks at metrics and checkpoints, and renews the status file; at most a few times a second.
    func refresh(force: Bool = false) {
        let now = MonotonicTime.seconds
        guard force || now - lastRefresh > 0.25 else { return }
        lastRefresh = now
        metrics.refresh()
        checkpoints.refresh()
        if let step = metrics.latest?.step { furthestStep = max(furthestStep, step) }
        guard force || now - lastStatusWrite > 2 else { return }
        lastStatusWrite = now
        writeStatus()
    }

    private func writeStatus() {
        do {
            try files.write(status(), to: files.status, durable: false)
        } catch {
            log("warning: \(error)")
        }
    }

    /// The name of a rank's host, as in the list of hosts; that of this host, as ranks see it.
    func host(of rank: Int) -> String? {
        if let host = state.launch?.host(of: rank), !host.isLocal { return host.name }
        return detector?.heartbeats(at: MonotonicTime.seconds).first { $0.heartbeat.rank == rank }?.heartbeat.host
    }

    static func name(_ ranks: [Int]) -> String {
        let list = ranks.prefix(8).map(String.init).joined(separator: ", ") + (ranks.count > 8 ? " …" : "")
        return ranks.count == 1 ? "rank \(list)" : "ranks \(list)"
    }

    /// Whether the launch has got beyond where it began, and nobody wants it to end.
    var isMovingOn: Bool {
        guard phase == .running, let resumedStep else { return false }
        return currentStep > resumedStep
    }

    var isAskedToStop: Bool { stopRequests > 0 }

    /// Whether somebody wants the ranks to end without saving.
    var isEndingAtOnce: Bool { stopRequests > 1 }
}
