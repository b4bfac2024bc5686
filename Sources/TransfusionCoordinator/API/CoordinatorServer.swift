internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
internal import HummingbirdTLS
internal import Logging
internal import NIOCore
public import TransfusionConfig
internal import TransfusionTelemetry

/// The HTTP server of a coordinator, under /v1.
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
            guard certificate != nil || ["127.0.0.1", "::1", "localhost"].contains(host) else {
                throw CommandFailure(
                    "--listen \(host): the coordinator listens on its own host only; use 127.0.0.1, and reach it from elsewhere through ssh -L",
                    .wrongUse)
            }
        }
    }

    /// What a server allows its clients.
    enum Limits {
        static let bodyBytes = 16 << 10
        static let headerBytes = 16 << 10
        static let headerFields = 64
        static let connections = 4096
        static let idleSeconds: Int64 = 30
        static let requestSeconds: Int64 = 15
    }

    private let control: any RunControl
    private let settings: Settings
    private let failures = RateLimit(rate: 1, burst: 20)
    private let requests = RateLimit(rate: 200, burst: 400)

    public init(_ control: any RunControl, settings: Settings = Settings()) throws(CommandFailure) {
        try settings.check()
        self.control = control
        self.settings = settings
    }

    /// Serves until the task is cancelled.
    /// - Parameter onStart: Called with the port, once requests are answered.
    public func run(onStart: @escaping @Sendable (_ port: Int) async -> Void) async throws {
        var logger = Logger(label: "tf-coord")
        logger.logLevel = .critical
        let decoder = HTTP1Channel.Configuration.DecoderConfiguration(
            maxHeaderFieldSize: Limits.headerBytes, maxHeaderListSize: Limits.headerBytes,
            maxHeaderFieldCount: Limits.headerFields)
        var server = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [RequestDeadline(.seconds(Limits.requestSeconds))],
                idleTimeout: .seconds(Limits.idleSeconds), httpDecoderConfiguration: decoder))
        if let certificate = settings.certificate, let key = settings.privateKey {
            server = try .tls(server, tlsConfiguration: Self.tls(certificate, key))
        }
        let application = Application(
            router: router, server: server,
            configuration: ApplicationConfiguration(
                address: .hostname(settings.host, port: settings.port), serverName: "tf-coord",
                availableConnectionsDelegate: MaximumAvailableConnections(Limits.connections)),
            onServerRunning: { channel in await onStart(channel.localAddress?.port ?? 0) }, logger: logger)
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

    // MARK: Routes

    var router: Router<CoordinatorContext> {
        let router = Router(context: CoordinatorContext.self)
        router.add(middleware: PlainErrors())
        let runs = router.group("v1/runs")
        runs.get { request, context in
            try await authorize(request, context, for: nil)
            return try Self.json(try await control.runs())
        }
        runs.get(":run") { request, context in
            try await authorize(request, context, for: nil)
            return try Self.json(try await control.status(of: try context.parameters.require("run")))
        }
        runs.get(":run/logs") { request, context in
            try await authorize(request, context, for: nil)
            let files = RunFiles(try await control.directory(of: try context.parameters.require("run")))
            let query = request.uri.queryParameters
            guard
                let part = files.log(launch: query.get("launch", as: Int.self), from: query.get("offset", as: Int.self))
            else { throw HTTPError(.notFound, message: "there is no such log") }
            return try Self.json(part)
        }
        runs.post(":run/stop") { request, context in
            try await authorize(request, context, for: nil)
            let now = request.uri.queryParameters.get("now", as: Bool.self) ?? false
            try await control.stop(try context.parameters.require("run"), now: now)
            return Response(status: .accepted)
        }
        runs.post(":run/resume") { request, context in
            try await authorize(request, context, for: nil)
            try await control.resume(try context.parameters.require("run"))
            return Response(status: .accepted)
        }
        runs.post(":run/launches/:launch/heartbeats") { request, context in
            let run: String = try context.parameters.require("run")
            try await authorize(request, context, for: run)
            let body = try await request.body.collect(upTo: Limits.bodyBytes)
            guard let heartbeat = try? Heartbeat(json: Data(body.readableBytesView)) else {
                throw HTTPError(.badRequest, message: "this is no heartbeat")
            }
            let answer = try await control.receive(
                heartbeat, launch: try context.parameters.require("launch"), run: run)
            return Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: .init(byteBuffer: ByteBuffer(string: "{\"stop\":\(answer.stop)}")))
        }
        return router
    }

    /// Throws unless the bearer of the request's token may do what it asks.
    /// - Parameter run: The run whose worker may; nil when only the owner of the coordinator may.
    private func authorize(_ request: Request, _ context: CoordinatorContext, for run: String?) async throws {
        let header = request.headers[.authorization] ?? ""
        let token = header.hasPrefix("Bearer ") ? String(header.dropFirst("Bearer ".count)) : ""
        let access = token.count <= 256 ? await control.access(for: token) : nil
        switch access {
        case .control:
            guard requests.allows("control") else { throw HTTPError(.tooManyRequests) }
        case .worker(let own) where own == run: break
        case .worker: throw HTTPError(.forbidden, message: "this token sends heartbeats of its own run only")
        case nil:
            guard failures.allows(context.peer) else { throw HTTPError(.tooManyRequests) }
            throw HTTPError(
                .unauthorized, headers: [.wwwAuthenticate: "Bearer"], message: "a valid token is needed")
        }
    }

    private static func json(_ value: some Encodable) throws -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(bytes: try CoordinatorJSON.encode(value))))
    }
}

/// A request with the address that it came from.
struct CoordinatorContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let peer: String

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        peer = source.channel.remoteAddress?.ipAddress ?? "?"
    }
}

/// Gives errors of `RunControl` their status.
private struct PlainErrors: RouterMiddleware {
    func handle(
        _ request: Request, context: CoordinatorContext,
        next: (Request, CoordinatorContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as RunControlError {
            throw switch error {
            case .unknownRun: HTTPError(.notFound, message: error.description)
            case .conflict: HTTPError(.conflict, message: error.description)
            }
        }
    }
}
