internal import Foundation
internal import TransfusionConfig
internal import TransfusionTelemetry

/// `tf-coord run`: the supervisor of one run and its server, in one process.
public struct ForegroundRun: Sendable {
    private let request: RunRequest
    private let settings: CoordinatorServer.Settings

    public init(_ request: RunRequest, settings: CoordinatorServer.Settings = CoordinatorServer.Settings()) {
        self.request = request
        self.settings = settings
    }

    /// Supervises the run to its end.
    /// - Parameters:
    ///   - log: Called with each line that a person should see.
    ///   - progress: Called about once a second.
    ///   - stopRequests: How often the person has asked to stop so far.
    public func run(
        log: @escaping RunSupervisor.Log, progress: @escaping @Sendable (RunStatus) -> Void,
        stopRequests: @escaping @Sendable () -> Int
    ) async throws -> RunStatus.Exit {
        let workerToken = AccessTokens.generate(), controlToken = AccessTokens.generate()
        let name = try RunConfiguration(yaml: request.configuration).name
        var tokens = AccessTokens()
        tokens.add(workerToken, for: .worker(run: name))
        tokens.add(controlToken, for: .control)
        // The supervisor tells the ranks the port, which is known only when the server listens.
        let supervisor = try RunSupervisor(request, log: log)
        let server = try CoordinatorServer(SingleRun(supervisor, tokens: tokens), settings: settings)
        let scheme = settings.certificate == nil ? "http" : "https"
        let host = settings.host
        let (ports, continuation) = AsyncThrowingStream.makeStream(of: Int.self)
        // Nobody waits for its end: a client that does not hang up must not hold up the end of the run.
        let serving = Task {
            do {
                try await server.run { port in continuation.yield(port) }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        defer { serving.cancel() }
        return try await withThrowingTaskGroup(of: RunStatus.Exit?.self) { group in
            let (started, start) = AsyncStream.makeStream(of: Int.self)
            group.addTask {
                for try await port in ports { start.yield(port) }
                try Task.checkCancellation()
                throw CommandFailure("the server of tf-coord ended unexpectedly")
            }
            group.addTask {
                guard let port = await started.first(where: { _ in true }) else { return nil }
                return try await supervisor.run(
                    endpoint: HeartbeatEndpoint(host: host, port: port, run: name, token: workerToken),
                    control: ControlEndpoint(
                        url: "\(scheme)://\(host):\(port)", run: name, token: controlToken, pid: getpid()))
            }
            group.addTask {
                var passedOn = 0
                var beats = 0
                while !Task.isCancelled {
                    while passedOn < stopRequests() {
                        passedOn += 1
                        await supervisor.stop(now: false)
                    }
                    if beats % 10 == 0 { progress(await supervisor.status()) }
                    beats += 1
                    try? await Task.sleep(for: .milliseconds(100))
                }
                return nil
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let exit = result { return exit }
            }
            throw CancellationError()
        }
    }
}
