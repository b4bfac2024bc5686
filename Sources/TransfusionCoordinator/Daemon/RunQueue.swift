internal import Foundation
internal import TransfusionConfig
internal import TransfusionHTTP
internal import TransfusionTelemetry

/// The runs of a daemon: those that wait for slots, those that it supervises, and those that have ended.
///
/// Runs are started in the order in which they were submitted. One that needs more slots than are free waits, and those
/// behind it as well, so that no run waits for ever; one that needs more than there are is ended.
actor RunQueue: RunControl {
    private struct Entry {
        var record: RunStore.Record
        let request: RunRequest
        let configuration: RunConfiguration
        /// While the run is supervised.
        var supervisor: RunSupervisor?
        /// Whether somebody has asked for the end of just this run.
        var isStopped = false
        /// Why the run ends or has ended although nobody asked for it: this daemon has not the slots that it needs.
        var refusal: RunStatus.Exit?
    }

    private let root: String
    private let worker: String
    private let store: RunStore
    private let log: RunSupervisor.Log
    private var slots: SlotPool
    private var entries: [String: Entry] = [:]
    private var tokens: AccessTokens
    /// Where the ranks and commands of this host ask; nil before the server listens.
    private var port: Int?
    private var socket: String?
    private let controlToken: String
    private var isDraining = false
    /// Whether a drain ends the runs without saving.
    private var isEndingAtOnce = false
    /// Runs that such a drain has ended before they had saved.
    private(set) var unsaved = 0
    private var supervision: [String: Task<Void, Never>] = [:]
    private var lastStatuses: [String: (changed: Date, status: RunStatus)] = [:]

    /// - Parameters:
    ///   - controlToken: The token of commands.
    ///   - worker: The program that ranks run.
    /// - Throws: When the store holds what cannot be read.
    init(
        _ store: RunStore, root: String, hosts: [ComputeHost], worker: String, controlToken: String,
        log: @escaping RunSupervisor.Log
    ) throws {
        self.store = store
        self.root = root
        self.worker = worker
        self.controlToken = controlToken
        self.log = log
        slots = SlotPool(hosts)
        var tokens = AccessTokens()
        tokens.add(controlToken, for: .control)
        for token in try store.tokens() { tokens.add(token) }
        self.tokens = tokens
        for record in try store.runs() {
            do {
                let request = try record.decodedRequest()
                entries[record.name] = Entry(
                    record: record, request: request, configuration: try request.decodedConfiguration())
            } catch {
                // Of another version: it stays in the store, and holds up no other.
                log("warning: \(record.name): cannot be read any more and is left out (\(error))")
            }
        }
    }

    // MARK: Starting and ending

    /// Takes over or launches again what ran when the last daemon ended, and starts what there is room for.
    /// - Parameters:
    ///   - port: Where the server listens on this host.
    ///   - socket: The path of its socket.
    func begin(port: Int, socket: String) {
        self.socket = socket
        var goingOn: [(name: String, request: RunRequest)] = []
        for entry in inOrder where entry.record.state != .ended {
            let name = entry.record.name
            let refusal = self.refusal(of: entry)
            entries[name]?.refusal = refusal
            if entry.record.state == .active, RunFiles(RunDirectory(entry.request.directory)).mayHaveProcesses {
                slots.hold(name, entry.request.hosts)
                goingOn.append((name, slots.limited(entry.request, entry.configuration)))
            } else if let refusal {
                ended(name, refusal)
            } else if entry.record.state == .active {
                // The slots may be others than those that it had. Its place is before those that waited for it.
                change(name) { $0.state = .queued }
            }
        }
        // From now on runs are started: what is taken is known.
        self.port = port
        for run in goingOn { supervise(run.name, run.request) }
        startWaiting()
    }

    private func refusal(of entry: Entry) -> RunStatus.Exit? {
        do {
            try slots.check(entry.configuration, limit: entry.request.ranks)
            return nil
        } catch {
            return .init(
                code: error.code.rawValue,
                reason: "\(error); with more slots for 'tf-coord serve', 'tf-coord resume \(entry.record.name)' "
                    + "continues it")
        }
    }

    /// Asks every run to save and end, so that the next daemon continues them; asked again, they end at once.
    func drain() async {
        isEndingAtOnce = isDraining
        isDraining = true
        for entry in entries.values { await entry.supervisor?.stop(now: isEndingAtOnce) }
    }

    /// Whether a drain has come to its end.
    var isDrained: Bool { isDraining && supervision.isEmpty }

    /// Runs that the next daemon will go on with.
    var unfinished: Int { entries.values.count { $0.record.state != .ended } }

    private var inOrder: [Entry] { entries.values.sorted { $0.record.place < $1.record.place } }

    private func startWaiting() {
        guard !isDraining, port != nil else { return }
        while let entry = inOrder.first(where: { $0.record.state == .queued }) {
            let name = entry.record.name
            guard let hosts = slots.take(name, entry.configuration, limit: entry.request.ranks) else { return }
            var request = entry.request
            request.hosts = hosts
            change(name) { record in
                record.state = .active
                record.request = (try? CoordinatorJSON.encode(request)) ?? record.request
            }
            supervise(name, request)
        }
    }

    private func supervise(_ name: String, _ request: RunRequest) {
        guard let port else { return }
        let log = log, controlToken = controlToken, socket = socket
        let workerToken = AccessTokens.generate()
        tokens.add(
            .init(digest: AccessTokens.digest(workerToken), access: .worker(run: name), name: "worker of \(name)"))
        let supervisor: RunSupervisor
        do {
            supervisor = try RunSupervisor(request) { log("\(name): \($0)") }
        } catch {
            return ended(name, .init(code: 1, reason: CommandFailure(reporting: error).description))
        }
        entries[name]?.supervisor = supervisor
        let local = CoordinatorServer.local
        let isRefused = entries[name]?.refusal != nil
        supervision[name] = Task {
            // Its ranks go on from the last daemon: they shall save.
            if isRefused { await supervisor.stop(now: false) }
            let exit: RunStatus.Exit
            do {
                exit = try await supervisor.run(
                    endpoint: HeartbeatEndpoint(
                        host: local, port: port, socket: socket, run: name, token: workerToken),
                    control: ControlEndpoint(
                        url: "http://\(local):\(port)", socket: socket, run: name, token: controlToken,
                        pid: getpid()))
            } catch {
                exit = .init(code: 1, reason: CommandFailure(reporting: error).description)
            }
            ended(name, exit)
        }
    }

    private func ended(_ name: String, _ exit: RunStatus.Exit) {
        var exit = exit
        if exit.code == CommandFailure.Code.checkpointedAndStopped.rawValue {
            exit = entries[name]?.refusal ?? exit
        } else if exit != entries[name]?.refusal {
            entries[name]?.refusal = nil
        }
        log("\(name): ended (\(exit.code)): \(exit.reason)")
        supervision[name] = nil
        entries[name]?.supervisor = nil
        tokens.revoke("worker of \(name)")
        slots.release(name)
        // What ends because the daemon does is not over.
        let isSaved = exit.code == CommandFailure.Code.checkpointedAndStopped.rawValue
        let goesOn =
            isDraining && (isSaved || isEndingAtOnce && exit.code != 0) && entries[name]?.isStopped == false
        if goesOn, !isSaved { unsaved += 1 }
        change(name) { record in
            record.state = goesOn ? .active : .ended
            record.exit = exit
        }
        startWaiting()
    }

    private func change(_ name: String, _ change: (inout RunStore.Record) -> Void) {
        guard var record = entries[name]?.record else { return }
        change(&record)
        entries[name]?.record = record
        do {
            try store.update(record)
        } catch {
            log("warning: \(name): \(error)")
        }
    }

    // MARK: RunControl

    func submit(_ submission: RunSubmission) async throws -> RunSummary {
        let configuration: RunConfiguration
        let request: RunRequest
        do {
            configuration = try RunConfiguration(yaml: submission.configuration, file: "configuration")
            request = try makeRequest(submission, configuration)
        } catch {
            throw RunControlError.invalid(CommandFailure(reporting: error).description)
        }
        let name = configuration.name
        if let state = entries[name]?.record.state, state != .ended {
            throw RunControlError.conflict("run \"\(name)\" is \(state == .queued ? "queued" : "running") already")
        }
        do {
            try RunDirectory(request.directory).check(configuration)
        } catch {
            throw RunControlError.conflict(error.description)
        }
        try enqueue(try RunStore.Record(name: name, request: request), request, configuration)
        return RunSummary(try await status(of: name))
    }

    private func makeRequest(
        _ submission: RunSubmission, _ configuration: RunConfiguration
    ) throws -> RunRequest {
        var isDirectory: ObjCBool = false
        guard submission.workingDirectory.hasPrefix("/"),
            FileManager.default.fileExists(atPath: submission.workingDirectory, isDirectory: &isDirectory),
            isDirectory.boolValue
        else {
            throw CommandFailure("working_directory: must be the absolute path of a directory of the daemon's host")
        }
        if let ranks = submission.ranks, ranks < 1 {
            throw CommandFailure("ranks: \(ranks) is not a number of ranks; use 1 or more")
        }
        try slots.check(configuration, limit: submission.ranks)
        var request = try RunRequest(
            configuration, hosts: slots.hosts, ranks: submission.ranks, directory: "\(root)/\(configuration.name)",
            worker: worker)
        request.workingDirectory = submission.workingDirectory
        return request
    }

    private func enqueue(
        _ record: RunStore.Record, _ request: RunRequest, _ configuration: RunConfiguration
    ) throws {
        entries[record.name] = Entry(
            record: try store.enqueue(record), request: request, configuration: configuration)
        startWaiting()
    }

    func resume(_ run: String) async throws {
        let entry = try entry(run)
        guard entry.record.state == .ended else {
            throw RunControlError.conflict(
                "run \"\(run)\" is \(entry.record.state == .queued ? "queued" : "running") already")
        }
        if let refusal = refusal(of: entry) { throw RunControlError.conflict(refusal.reason) }
        try enqueue(entry.record, entry.request, entry.configuration)
    }

    func stop(_ run: String, now: Bool) async throws {
        let entry = try entry(run)
        entries[run]?.isStopped = true
        switch entry.record.state {
        case .active: await entry.supervisor?.stop(now: now)
        case .queued:
            change(run) { record in
                record.state = .ended
                record.exit = .init(
                    code: CommandFailure.Code.checkpointedAndStopped.rawValue, reason: "stopped before it was launched")
            }
            startWaiting()
        case .ended: throw RunControlError.conflict("run \"\(run)\" has ended; 'tf-coord resume \(run)' continues it")
        }
    }

    func runs() async -> [RunSummary] {
        var summaries: [RunSummary] = []
        for entry in inOrder.reversed() { summaries.append(RunSummary(await status(of: entry))) }
        return summaries
    }

    func status(of run: String) async throws -> RunStatus { await status(of: try entry(run)) }

    private func status(of entry: Entry) async -> RunStatus {
        if let supervisor = entry.supervisor { return await supervisor.status() }
        let now = Date().timeIntervalSince1970
        var status =
            lastStatus(of: entry, at: now)
            ?? RunStatus(
                run: entry.record.name, directory: entry.request.directory, state: .queued, time: now, step: 0,
                steps: entry.configuration.schedule.steps)
        status.source = .coordinator
        switch entry.record.state {
        case .queued, .active:
            status.state = .queued
            status.exit = nil
            status.warnings = []
        case .ended where status.exit != nil && entry.refusal == nil: break
        case .ended:
            // What its own directory says is of an earlier end, if it says anything.
            let exit = entry.record.exit
            let wasStopped = exit?.code == CommandFailure.Code.checkpointedAndStopped.rawValue
            status.state = wasStopped ? .stopped : .failed
            status.exit = exit
            status.warnings = []
        }
        return status
    }

    /// What the directory of a run says that nobody supervises; read again only when a coordinator has written there.
    private func lastStatus(of entry: Entry, at now: Double) -> RunStatus? {
        let files = RunFiles(RunDirectory(entry.request.directory))
        let attributes = try? FileManager.default.attributesOfItem(atPath: files.status)
        guard let changed = attributes?[.modificationDate] as? Date else { return nil }
        let name = entry.record.name
        if lastStatuses[name]?.changed != changed {
            lastStatuses[name] = (try? files.readStatus()).map { (changed, $0) }
        }
        guard var status = lastStatuses[name]?.status else { return nil }
        status.lastCheckpoint?.ageSeconds += max(0, now - status.time)
        status.time = now
        return status
    }

    func directory(of run: String) async throws -> RunDirectory { RunDirectory(try entry(run).request.directory) }

    func receive(_ heartbeat: Heartbeat, launch: String, run: String) async throws -> HeartbeatAnswer {
        // A rank of a run that has just ended has nothing left to be told.
        await entries[run]?.supervisor?.receive(heartbeat, launch: launch) ?? HeartbeatAnswer(stop: false)
    }

    func hosts() async -> [RunStatus.HostStatus] {
        slots.hosts.map { host in
            let ranks = slots.ranks(on: host.name)
            return .init(
                name: host.name, slots: host.slots, ranks: ranks, condition: ranks > 0 ? .used : .spare, failures: 0)
        }
    }

    private func entry(_ run: String) throws -> Entry {
        guard let entry = entries[run] else { throw RunControlError.unknownRun(run) }
        return entry
    }

    // MARK: Tokens

    func access(for token: String) async -> Access? { tokens.access(for: token) }

    func issueViewerToken(_ name: String, lifetime: Double?) async throws -> String {
        let (token, entry) = tokens.issueViewer(name, lifetime: lifetime)
        try store.keep(entry)
        return token
    }

    func revokeViewerTokens(_ name: String) async throws {
        guard try store.forget(tokens: name) else { throw RunControlError.conflict("there is no token \"\(name)\"") }
        tokens.revoke(name)
    }
}
