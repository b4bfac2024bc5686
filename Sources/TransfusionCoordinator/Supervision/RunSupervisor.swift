internal import Foundation
public import TransfusionConfig
internal import TransfusionSupport
public import TransfusionTelemetry

/// Keeps one run going until it is done: launches it, watches it, and after a failure kills what is left and launches it
/// again from its newest checkpoint.
public actor RunSupervisor {
    /// What a supervisor tells the person who looks on.
    public typealias Log = @Sendable (String) -> Void

    var request: RunRequest
    let configuration: RunConfiguration
    let files: RunFiles
    let log: Log
    let claim: RunClaim
    let checkpoints: CheckpointWatch
    var hosts: HostHealth

    var state: SupervisorState
    var phase = RunStatus.State.starting
    var detector: FailureDetector?
    var metrics: MetricsTail
    /// Where the ranks go on after a restart, until the first step is done.
    var resumedStep: Int?
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
    /// Whose turn it is to be looked at.
    var turn = 0
    /// When mpirun was last seen alive.
    var lastSeenLauncher = 0.0
    /// The last sign that all was well before the last failure.
    var baseline = 0.0
    /// When the failure was found that is being dealt with.
    var detected: Double?
    /// What makes launches impossible at the moment.
    var obstacle: Obstacle?
    /// The last warning that a file could not be written.
    private var lastFileWarning: String?

    /// How often the processes and heartbeats are looked at.
    private static let tick = Duration.milliseconds(100)

    /// Becomes the coordinator of a run.
    /// - Throws: `CommandFailure` when another coordinator supervises the run, `RunDirectoryError` when the directory
    ///   belongs to another run.
    public init(_ request: RunRequest, log: @escaping Log) throws {
        let directory = RunDirectory(request.directory)
        let files = RunFiles(directory)
        let configuration = try request.decodedConfiguration()
        try ComputeHost.requireUsableNames(request.hosts)
        try directory.check(configuration)
        try files.make()
        claim = RunClaim(directory)
        try claim.coordinate()
        files.removeLeftovers()
        var state = try SupervisorState(files, run: configuration.name)
        try claim.announce(state.identity)
        try Self.requireNoOtherJob(claim, files, log)
        var request = request
        if files.mayHaveProcesses {
            // Ranks that went on by themselves were where it says already.
            request.resume = files.read(RunRequest.self, from: files.request)?.resume
        } else if request.resume != nil, request.resume != files.read(RunRequest.self, from: files.request)?.resume {
            state.oldCheckpoints = Array(CheckpointWatch.directories(of: directory))
        }
        try AtomicFile.write(configuration.resolved.utf8, to: files.configuration)
        try files.write(request, to: files.request, durable: true)
        self.request = request
        self.configuration = configuration
        self.files = files
        self.log = log
        checkpoints = CheckpointWatch(directory)
        metrics = MetricsTail(path: directory.metrics, spikeLimit: configuration.supervision.lossSpike)
        hosts = HostHealth(request.hosts, shell: RemoteShell(request.remoteShell))
        self.state = state
    }

    public nonisolated var runName: String { configuration.name }
    public nonisolated var directory: RunDirectory { files.directory }

    // MARK: What others ask

    /// Asks the run to save and end; asked again, or with `now`, it ends at once.
    public func stop(now: Bool) {
        requestStop(now: now)
    }

    func requestStop(now: Bool = false) {
        stopRequests = max(stopRequests + 1, now ? 2 : 1)
    }

    /// Takes a heartbeat; one of another launch than the present is ignored.
    public func receive(_ heartbeat: Heartbeat, launch: String) -> HeartbeatAnswer {
        guard launch == state.launch?.id else { return HeartbeatAnswer(stop: false) }
        detector?.receive(heartbeat, at: MonotonicTime.seconds)
        // Ranks that are to end without saving must not begin to save.
        return HeartbeatAnswer(stop: (isAskedToStop || isGrowing) && !isEndingAtOnce)
    }

    // MARK: The run

    /// Supervises the run to its end.
    /// - Parameters:
    ///   - endpoint: Where the ranks shall send their heartbeats.
    ///   - control: Where commands can ask for the run.
    public func run(endpoint: HeartbeatEndpoint, control: ControlEndpoint) async throws -> RunStatus.Exit {
        try files.writeEndpoint(endpoint)
        try files.write(control, to: files.control, durable: false)
        defer { if claim.findLoss() == nil { unlink(files.control) } }
        metrics.refresh()
        state.started = state.started ?? Date().timeIntervalSince1970
        // Steps of a time before the first coordinator took theirs.
        state.wantedSeconds = state.wantedSeconds ?? metrics.productiveSeconds
        state.wantedSince = state.wantedSince ?? .now
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
            if let loss = claim.findLoss() { return await finish(.failed, code: 1, lossReason(loss)) }
            let end = try await launchAndWatch(adopted)
            adopted = nil
            switch end {
            case .notLaunched: return await finish(.stopped, code: 85, "stopped before it was launched")
            case .finished: return await finish(.done, code: 0, "all \(configuration.schedule.steps) steps are done")
            case .stopped where isGrowing && stopRequests == 0: try await killAll()
            case .stopped: return await finish(.stopped, code: 85, "stopped on request; 'tf-coord resume' continues it")
            case .endedAtOnce: return await finish(.stopped, code: 1, reasonAtOnce)
            // However it looks: that is what was asked for.
            case .failed where isEndingAtOnce: return await finish(.stopped, code: 1, reasonAtOnce)
            case .lostDirectory(let reason): return await finish(.failed, code: 1, reason)
            case .failed(let cause) where cause.prospect == .never && newcomers.isEmpty:
                return await finish(.failed, code: cause.exitCode ?? 1, cause.summary)
            case .failed(let cause) where cause.prospect == .later:
                // Ranks that were to save and to end, and could not save, have nothing to be launched for.
                guard stopRequests == 0 else { return await finish(.failed, code: 1, cause.summary) }
                try await waitUntilPossible(cause)
            case .failed(let cause):
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

    private func launchAndWatch(_ adopted: MPILaunch?) async throws(CommandFailure) -> LaunchEnd {
        if let adopted { return await watch(adopted) }
        guard stopRequests == 0 else { return .notLaunched }
        if let obstacle = LaunchObstacle.beforeLaunch() { return .failed(obstacle.cause) }
        guard let launch = try await start() else { return .notLaunched }
        return await watch(launch)
    }

    private func finish(_ phase: RunStatus.State, code: Int32, _ reason: String) async -> RunStatus.Exit {
        // Also after an end in good order, nothing may be left.
        do { try await killAll() } catch { log("warning: \(error)") }
        self.phase = phase
        let exit = RunStatus.Exit(code: code, reason: reason)
        state.exit = exit
        state.wantedSeconds = state.wantedSeconds(until: .now)
        state.wantedSince = nil
        detector = nil
        refresh(force: true)
        await checkpoints.settle(seconds: 10)
        save()
        writeStatus()
        return exit
    }

    /// Waits, unless a stop is asked for.
    func pause(_ seconds: Double, _ what: String? = "restarting") async {
        let end = MonotonicTime.seconds + seconds
        if seconds > 0, let what { log("\(what) in \(Int(seconds.rounded(.up))) s") }
        while MonotonicTime.seconds < end, stopRequests == 0 {
            refresh()
            try? await Task.sleep(for: Self.tick)
        }
    }

    // MARK: Watching

    /// How a launch ended.
    enum LaunchEnd {
        case finished
        case stopped
        /// Somebody wanted its end without saving.
        case endedAtOnce
        /// The run has no directory any more.
        case lostDirectory(String)
        case failed(FailureCause)
        /// Nobody wanted it any more.
        case notLaunched
    }

    private func watch(_ launch: MPILaunch) async -> LaunchEnd {
        let memoryKills = ProcessTable.outOfMemoryKills
        var sentRequests = 0
        while true {
            let now = MonotonicTime.seconds
            if let end = launch.end { return judge(end, memoryKills: memoryKills) }
            lastSeenLauncher = now
            if let reason = await leaveLostDirectory(launch) { return .lostDirectory(reason) }
            if launch.wasAskedToEnd { stopRequests = max(stopRequests, 1) }
            if stopRequests > sentRequests {
                sentRequests = stopRequests
                await passOnStop(launch)
            }
            // Ranks that wait to save lose their step if they are ended.
            if stopDeadline != nil, detector?.obstacle != nil {
                stopDeadline = now + configuration.supervision.saveTimeout
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
            if obstacle?.isOver(checkpoint: checkpoints.step) == true { obstacle = nil }
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
        phase = !detector.hasStarted ? .starting : detector.isSaving ? .saving : .running
    }

    // MARK: Files

    func save() {
        guard claim.findLoss() == nil else { return }
        do {
            try files.write(state, to: files.state, durable: true)
        } catch {
            warn(of: error)
        }
    }

    /// Looks at metrics and checkpoints, and renews the status file; at most a few times a second.
    func refresh(force: Bool = false) {
        let now = MonotonicTime.seconds
        guard force || now - lastRefresh > 0.25 else { return }
        lastRefresh = now
        metrics.refresh()
        checkpoints.refresh()
        forgetResumeOnceSaved()
        if let step = metrics.latest?.step { furthestStep = max(furthestStep, step) }
        guard force || now - lastStatusWrite > 2 else { return }
        lastStatusWrite = now
        writeStatus()
    }

    private func writeStatus() {
        guard claim.findLoss() == nil else { return }
        do {
            try files.write(status(), to: files.status, durable: false)
            lastFileWarning = nil
        } catch {
            warn(of: error)
        }
    }

    /// Once: a disk that is full refuses every status.
    private func warn(of error: any Error) {
        let warning = "warning: \(error)"
        if warning != lastFileWarning { log(warning) }
        lastFileWarning = warning
    }

    /// The name of a rank's host, as in the list of hosts; that of this host, as ranks see it.
    func host(of rank: Int) -> String? {
        if let host = state.launch?.host(of: rank), !host.isLocal { return host.name }
        return detector?.heartbeat(of: rank)?.host
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
