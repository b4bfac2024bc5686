internal import Foundation
internal import TransfusionConfig
internal import TransfusionHTTP
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
    ///   - onListening: Called when the server answers.
    ///   - progress: Called about once a second.
    ///   - stopRequests: How often the person has asked to stop so far.
    public func run(
        log: @escaping RunSupervisor.Log, onListening: @escaping @Sendable (DashboardLink) -> Void,
        progress: @escaping @Sendable (RunStatus) -> Void,
        stopRequests: @escaping @Sendable () -> Int
    ) async throws -> RunStatus.Exit {
        Descriptors.raiseLimit()
        let workerToken = AccessTokens.generate(), controlToken = AccessTokens.generate()
        let viewerToken = AccessTokens.generate()
        let name = try request.decodedConfiguration().name
        var tokens = AccessTokens()
        tokens.add(workerToken, for: .worker(run: name))
        tokens.add(controlToken, for: .control)
        tokens.add(viewerToken, for: .viewer)
        // The supervisor tells the ranks the port, which is known only when the server listens.
        let supervisor = try RunSupervisor(request, log: log)
        let server = try CoordinatorServer(SingleRun(supervisor, tokens: tokens), settings: settings)
        // Ranks on other hosts need an address of their network, and encryption on it.
        let remote = request.hosts.filter { !$0.isLocal }.map(\.address)
        let address = remote.isEmpty ? nil : LocalAddress.seen(by: remote) ?? ProcessInfo.processInfo.hostName
        let ranks = try address.map { (address: $0, identity: try TLSIdentity(of: "tf-coord")) }
        let socket = RunFiles(supervisor.directory).socket
        return try await server.serve(ranksAt: ranks, socket: socket) { ports in
            onListening(DashboardLink(server: settings.url(localPort: ports.local), token: viewerToken))
            let looking = Task {
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
            }
            defer { looking.cancel() }
            return try await supervisor.run(
                // Ranks of several hosts all use the network: what they say of it is how the loss of a host shows.
                endpoint: HeartbeatEndpoint(
                    host: ranks?.address ?? CoordinatorServer.local, port: ports.ranks,
                    socket: ranks == nil ? socket : nil, run: name, token: workerToken,
                    certificate: ranks?.identity.certificate),
                control: ControlEndpoint(
                    url: "http://\(CoordinatorServer.local):\(ports.local)", socket: socket, run: name,
                    token: controlToken, pid: getpid()))
        }
    }
}
