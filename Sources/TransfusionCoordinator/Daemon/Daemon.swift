internal import Foundation
internal import TransfusionConfig
internal import TransfusionHTTP
internal import TransfusionSupport

/// `tf-coord serve`: a queue of runs and its server, in one process.
public struct Daemon: Sendable {
    private let files: DaemonFiles
    private let hosts: [ComputeHost]
    private let settings: CoordinatorServer.Settings

    /// - Parameters:
    ///   - root: The directory below which all runs lie; made when it does not exist.
    ///   - hosts: What runs are placed on.
    public init(root: String, hosts: [ComputeHost], settings: CoordinatorServer.Settings) {
        files = DaemonFiles(root: root)
        self.hosts = hosts
        self.settings = settings
    }

    /// Serves until somebody asks it to stop and all runs have saved and ended.
    /// - Parameters:
    ///   - log: Called with each line that a person should see.
    ///   - onListening: Called when the server answers.
    ///   - stopRequests: How often somebody has asked to stop so far.
    /// - Returns: How many runs the next daemon will go on with, and how many of them have not saved everything.
    public func run(
        log: @escaping RunSupervisor.Log, onListening: @escaping @Sendable (DashboardLink) -> Void,
        stopRequests: @escaping @Sendable () -> Int
    ) async throws -> (unfinished: Int, unsaved: Int) {
        Descriptors.raiseLimit()
        try files.make()
        let lock = try files.lock()
        defer { lock.release() }
        let controlToken = AccessTokens.generate()
        let queue = try RunQueue(
            RunStore(files.store), root: files.root, hosts: hosts, worker: RunRequest.workerBesideThisProgram(),
            controlToken: controlToken, log: log)
        let server = try CoordinatorServer(queue, settings: settings)
        defer { files.withdraw() }
        return try await server.serve(socket: files.socket) { ports in
            let port = ports.local
            try files.publish(
                DaemonEndpoint(
                    url: "http://\(CoordinatorServer.local):\(port)", socket: files.socket, root: files.root,
                    token: controlToken, pid: getpid()))
            await queue.begin(port: port, socket: files.socket)
            let token = try await queue.issueViewerToken(DashboardLink.name, lifetime: DashboardLink.lifetime)
            onListening(DashboardLink(server: settings.url(localPort: port), token: token))
            var passedOn = 0
            while true {
                while passedOn < stopRequests() {
                    passedOn += 1
                    log(passedOn == 1 ? "stopping: all runs save; once more ends them at once" : "ending at once")
                    await queue.drain()
                }
                if await queue.isDrained { return (await queue.unfinished, await queue.unsaved) }
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }
}
