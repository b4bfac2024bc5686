internal import Synchronization
internal import TransfusionConfig
internal import TransfusionHTTP
internal import TransfusionTelemetry

/// The run that `tf-coord run` supervises, as its server sees it.
final class SingleRun: RunControl {
    private let supervisor: RunSupervisor
    private let tokens: Mutex<AccessTokens>

    init(_ supervisor: RunSupervisor, tokens: AccessTokens) {
        self.supervisor = supervisor
        self.tokens = Mutex(tokens)
    }

    func runs() async -> [RunSummary] { [RunSummary(await supervisor.status())] }

    func status(of run: String) async throws -> RunStatus {
        try check(run)
        return await supervisor.status()
    }

    func directory(of run: String) async throws -> RunDirectory {
        try check(run)
        return supervisor.directory
    }

    func receive(_ heartbeat: Heartbeat, launch: String, run: String) async throws -> HeartbeatAnswer {
        try check(run)
        return await supervisor.receive(heartbeat, launch: launch)
    }

    func submit(_ submission: RunSubmission) async throws -> RunSummary {
        throw RunControlError.conflict("'tf-coord run' supervises one run; 'tf-coord serve' takes others")
    }

    func stop(_ run: String, now: Bool) async throws {
        try check(run)
        await supervisor.stop(now: now)
    }

    func resume(_ run: String) async throws {
        try check(run)
        throw RunControlError.conflict("run \"\(run)\" goes on already")
    }

    func hosts() async -> [RunStatus.HostStatus] { await supervisor.status().layout?.hosts ?? [] }

    func access(for token: String) async -> Access? { tokens.withLock { $0.access(for: token) } }

    func issueViewerToken(_ name: String, lifetime: Double?) async throws -> String {
        tokens.withLock { $0.issueViewer(name, lifetime: lifetime).token }
    }

    func revokeViewerTokens(_ name: String) async throws {
        guard tokens.withLock({ $0.revoke(name) }) else {
            throw RunControlError.conflict("there is no token \"\(name)\"")
        }
    }

    private func check(_ run: String) throws {
        guard run == supervisor.runName else { throw RunControlError.unknownRun(run) }
    }
}
