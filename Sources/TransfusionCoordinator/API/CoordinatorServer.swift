internal import Foundation
internal import Hummingbird
internal import HummingbirdCore
internal import HummingbirdTLS
internal import Logging
internal import NIOCore
internal import Synchronization
public import TransfusionConfig
internal import TransfusionHTTP
internal import TransfusionSupport

/// The HTTP server of a coordinator: the API under /v1, /metrics for Prometheus, and the dashboard.
///
/// On this host it always listens in the clear, for ranks and commands. Beyond it, it listens with TLS only.
public struct CoordinatorServer: Sendable {
    /// Where and how a server listens.
    public struct Settings: Sendable {
        public var host = "127.0.0.1"
        /// 0 takes a free one.
        public var port = 0
        /// PEM files; without them, only this host can connect.
        public var certificate: String?
        public var privateKey: String?

        public init() {}

        /// - Throws: `CommandFailure` when the server would send tokens in the clear over a network.
        func check() throws(CommandFailure) {
            guard (certificate == nil) == (privateKey == nil) else {
                throw CommandFailure("--tls-certificate and --tls-key: give both, or none", .wrongUse)
            }
            guard certificate != nil || isLoopback else {
                throw CommandFailure(
                    "--listen \(host): tokens would cross the network in the clear; give --tls-certificate and --tls-key, "
                        + "or listen on 127.0.0.1 and reach it from elsewhere through ssh -L", .wrongUse)
            }
            guard !listensBeside || port > 0 else {
                throw CommandFailure(
                    "--listen \(host): give a port, as in \(host.contains(":") ? "[\(host)]" : host):7700", .wrongUse)
            }
            guard certificate == nil || (!isLoopback && port > 0) else {
                throw CommandFailure(
                    "--tls-certificate: is for listening beyond this host; give --listen with an address and a port, "
                        + "as in --listen 0.0.0.0:7700", .wrongUse)
            }
        }

        private var isLoopback: Bool { host == "localhost" || LocalAddress.isLoopback(host) }

        /// Whether an address of its own is listened on beside that of the host's ranks and commands.
        var listensBeside: Bool { !["127.0.0.1", "localhost"].contains(host) }

        /// Where people find the server.
        /// - Parameter localPort: Where it listens on this host.
        func url(localPort: Int) -> String {
            guard listensBeside else { return "http://\(CoordinatorServer.local):\(localPort)" }
            let isAny = ["0.0.0.0", "::"].contains(host)
            let name = isAny ? ProcessInfo.processInfo.hostName : host.contains(":") ? "[\(host)]" : host
            return "\(certificate == nil ? "http" : "https")://\(name):\(port)"
        }
    }

    /// What a server allows its clients.
    enum Limits {
        static let bodyBytes = 16 << 10
        /// A configuration has at most 256 KiB, and JSON may double it.
        static let submissionBytes = 600 << 10
        static let headerBytes = 16 << 10
        static let headerFields = 64
        /// That wait to be accepted. Behind as many strangers a rank still has its turn before it gives up, after ten seconds.
        static let backlog = 512
        /// For a connection to show a valid token.
        static let strangerSeconds: Int64 = 10
        /// Between requests, and until the head of a request is there.
        static let idleSeconds: Int64 = 30
        /// Until the body of a request is there.
        static let requestSeconds: Int64 = 15
    }

    /// Where a server listens.
    struct Ports: Sendable {
        /// On this host alone, in the clear: for commands, and for ranks that run here.
        let local: Int
        /// For all ranks.
        let ranks: Int
    }

    /// Where ranks and commands of this host ask.
    static let local = "127.0.0.1"

    let control: any RunControl
    let settings: Settings
    /// Of all connections.
    private let eventLoop = EventLoopGroupProvider.singleton.eventLoopGroup.any()
    let histories = RunHistories()
    let failures = RateLimit(rate: 1, burst: 20)
    let requests = RateLimit(rate: 200, burst: 400)
    /// Thousands of ranks send one heartbeat a second each.
    let heartbeats = RateLimit(rate: 10_000, burst: 20_000)

    public init(_ control: any RunControl, settings: Settings = Settings()) throws(CommandFailure) {
        try settings.check()
        self.control = control
        self.settings = settings
    }

    /// Serves while `body` works.
    ///
    /// Then it is over: nobody waits for clients to hang up.
    /// - Parameters:
    ///   - ranks: An address of this host as the hosts of other ranks see it, and what encrypts their heartbeats there.
    ///   - socket: The path of a socket for ranks and commands of this host, in a private directory that is there.
    ///   - body: Called with the ports, once requests are answered there.
    /// - Throws: `CommandFailure` when an address cannot be listened on; what `body` throws.
    func serve<Result: Sendable>(
        ranksAt ranks: (address: String, identity: TLSIdentity)? = nil, socket: String? = nil,
        while body: @escaping @Sendable (Ports) async throws -> Result
    ) async throws -> Result {
        let (ports, continuation) = AsyncThrowingStream.makeStream(of: Ports.self)
        let listeners = Listeners()
        let serving = Task(executorPreference: EventLoopExecutor(eventLoop)) {
            do {
                try await listen(ranks, socket, listeners) { ports in continuation.yield(ports) }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        let outcome: Swift.Result<Result, any Error>
        do {
            outcome = .success(try await value(of: body, whileThereAre: ports))
        } catch {
            outcome = .failure(error)
        }
        await listeners.stopAccepting()
        serving.cancel()
        return try outcome.get()
    }

    private func value<Result: Sendable>(
        of body: @escaping @Sendable (Ports) async throws -> Result,
        whileThereAre ports: AsyncThrowingStream<Ports, any Error>
    ) async throws -> Result {
        let end = CommandFailure("the server of tf-coord ended unexpectedly")
        guard let first = try await ports.first(where: { _ in true }) else { throw end }
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask { try await body(first) }
            group.addTask {
                for try await _ in ports {}
                try Task.checkCancellation()
                throw end
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw CancellationError()
        }
    }

    private func listen(
        _ ranks: (address: String, identity: TLSIdentity)?, _ socket: String?, _ listeners: Listeners,
        onStart: @escaping @Sendable (Ports) async -> Void
    ) async throws {
        var beyond: TLSConfiguration?
        if let certificate = settings.certificate, let key = settings.privateKey {
            beyond = try Self.tls(certificate, key)
        }
        let addresses = 1 + (ranks == nil ? 0 : 1) + (settings.listensBeside ? 1 : 0) + (socket == nil ? 0 : 1)
        let bounds = Connections.Bounds(all: Descriptors.forClients, addresses: addresses)
        let lasting = Connections.Lasting()
        let connections = { @Sendable in Connections(bounds, lasting: lasting) }
        try await withThrowingTaskGroup { [beyond] group in
            let (started, start) = AsyncStream.makeStream(of: Int.self)
            let (besideStarted, besideStart) = AsyncStream.makeStream(of: Int.self)
            let (localStarted, localStart) = AsyncStream.makeStream(of: Int.self)
            if let ranks {
                group.addTask {
                    let tls = try ranks.identity.serverConfiguration
                    try await listen(at: (ranks.address, 0), tls: tls, connections(), listeners) { start.yield($0) }
                }
            }
            if settings.listensBeside {
                group.addTask {
                    try await listen(at: (settings.host, settings.port), tls: beyond, connections(), listeners) {
                        besideStart.yield($0)
                    }
                }
            }
            if let socket {
                group.addTask {
                    guard let port = await localStarted.first(where: { _ in true }) else { return }
                    try await listen(socket, beside: port, connections(), listeners)
                }
            }
            group.addTask {
                let port = settings.listensBeside ? 0 : settings.port
                try await listen(at: (Self.local, port), tls: nil, connections(), listeners) { local in
                    localStart.yield(local)
                    if settings.listensBeside { _ = await besideStarted.first { _ in true } }
                    let port = ranks == nil ? local : await started.first { _ in true }
                    if let port { await onStart(Ports(local: local, ranks: port)) }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Listens at a Unix socket, for those who could ask at a port of this host as well.
    private func listen(
        _ path: String, beside port: Int, _ connections: Connections, _ listeners: Listeners
    ) async throws {
        let socket = try PrivateSocket(path)
        socket.remove()
        defer { socket.remove() }
        do {
            let address = BindAddress.unixDomainSocket(path: socket.address)
            try await listen(address, linksTo: port, tls: nil, connections, listeners) { _ in }
        } catch is IOError {
            // Not every file system has sockets. The port is there.
            while true { try await Task.sleep(for: .seconds(3600)) }
        }
    }

    private func listen(
        at place: (host: String, port: Int), tls: TLSConfiguration?, _ connections: Connections,
        _ listeners: Listeners, onStart: @escaping @Sendable (_ port: Int) async -> Void
    ) async throws {
        do {
            let address = BindAddress.hostname(place.host, port: place.port)
            try await listen(address, tls: tls, connections, listeners, onStart: onStart)
        } catch let error as IOError {
            throw CommandFailure(
                "--listen \(place.host):\(place.port): \(String(cString: strerror(error.errnoCode))); "
                    + "choose another address or port", .wrongUse)
        }
    }

    /// - Parameter port: That of links in answers, where it is not the one that is listened on.
    private func listen(
        _ address: BindAddress, linksTo port: Int? = nil, tls: TLSConfiguration?, _ connections: Connections,
        _ listeners: Listeners, onStart: @escaping @Sendable (_ port: Int) async -> Void
    ) async throws {
        // What the server has to say goes to its clients.
        let logger = Logger(label: "tf-coord", factory: { _ in SwiftLogNoOpLogHandler() })
        let decoder = HTTP1Channel.Configuration.DecoderConfiguration(
            maxHeaderFieldSize: Limits.headerBytes, maxHeaderListSize: Limits.headerBytes,
            maxHeaderFieldCount: Limits.headerFields)
        var server = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [
                    ConnectionAdmission(connections, patience: .seconds(Limits.strangerSeconds)),
                    RequestDeadline(head: .seconds(Limits.idleSeconds), body: .seconds(Limits.requestSeconds)),
                ],
                idleTimeout: .seconds(Limits.idleSeconds), httpDecoderConfiguration: decoder))
        if let tls { server = try .tls(server, tlsConfiguration: tls) }
        let application = Application(
            router: router(isEncrypted: tls != nil, port: port, connections), server: server,
            configuration: ApplicationConfiguration(
                address: address, serverName: "tf-coord", backlog: Limits.backlog,
                availableConnectionsDelegate: AvailablePlaces(connections)),
            onServerRunning: { channel in
                listeners.add(channel)
                connections.serve(channel)
                await onStart(channel.localAddress?.port ?? 0)
            }, eventLoopGroupProvider: .shared(eventLoop), logger: logger)
        try await application.run()
    }

    private static func tls(_ certificate: String, _ key: String) throws -> TLSConfiguration {
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(certificate)
            return .makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
        } catch {
            throw CommandFailure(
                "\(certificate), \(key): are no certificate and key in PEM format (\(error))", .wrongUse)
        }
    }
}

/// The sockets at which a server listens.
private final class Listeners: Sendable {
    private let channels = Mutex<[any Channel]>([])

    func add(_ channel: any Channel) { channels.withLock { $0.append(channel) } }

    /// To be called before the task that serves is cancelled: a connection that is accepted, but waits for that task, would
    /// be dropped with it, and NIO ends the process then (swift-nio issue 2637).
    func stopAccepting() async {
        let channels = channels.withLock { $0 }
        // In a task of its own, which the end of the server does not cancel.
        await Task {
            for channel in channels { try? await channel.setOption(.autoRead, value: false).get() }
            // What has been accepted needs microseconds to its task, and much longer on a busy host.
            try? await Task.sleep(for: .milliseconds(300))
        }.value
    }
}

/// A request with the address that it came from, and the port that it came to.
struct CoordinatorContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let peer: String
    var port: Int
    let channel: any Channel
    /// Where the connection has its place.
    var connections: Connections?

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
        peer = source.channel.remoteAddress?.ipAddress ?? "?"
        port = source.channel.localAddress?.port ?? 0
    }
}
