internal import Foundation
public import TransfusionConfig
public import TransfusionTelemetry

/// The run that `tf-coord run` supervises, as its server sees it.
public struct SingleRun: RunControl {
    private let supervisor: RunSupervisor
    private let tokens: AccessTokens

    public init(_ supervisor: RunSupervisor, tokens: AccessTokens) {
        self.supervisor = supervisor
        self.tokens = tokens
    }

    public func runs() async throws -> [RunStatus] { [await supervisor.status()] }

    public func status(of run: String) async throws -> RunStatus {
        try check(run)
        return await supervisor.status()
    }

    public func directory(of run: String) async throws -> RunDirectory {
        try check(run)
        return supervisor.directory
    }

    public func receive(_ heartbeat: Heartbeat, launch: String, run: String) async throws -> HeartbeatAnswer {
        try check(run)
        return await supervisor.receive(heartbeat, launch: launch)
    }

    public func stop(_ run: String, now: Bool) async throws {
        try check(run)
        await supervisor.stop(now: now)
    }

    public func resume(_ run: String) async throws {
        try check(run)
        throw RunControlError.conflict("run \"\(run)\" goes on already")
    }

    public func access(for token: String) async -> Access? { tokens.access(for: token) }

    private func check(_ run: String) throws {
        guard run == supervisor.runName else { throw RunControlError.unknownRun(run) }
    }
}
