internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import NIOHTTP1
internal import TransfusionConfig
internal import TransfusionHTTP
internal import TransfusionTelemetry

extension CoordinatorServer {
    /// As a request's context names the route.
    fileprivate static let heartbeatPath = "/v1/runs/{run}/launches/{launch}/heartbeats"

    /// - Parameters:
    ///   - isEncrypted: Whether requests come over TLS.
    ///   - port: That of links in answers, where requests do not come over it; nil for the port that they come to.
    ///   - connections: Those over which requests come.
    func router(isEncrypted: Bool, port: Int?, _ connections: Connections) -> Router<CoordinatorContext> {
        let router = Router(context: CoordinatorContext.self)
        router.add(middleware: Threads())
        router.add(middleware: Places(connections: connections, port: port))
        router.add(middleware: Headers())
        router.add(middleware: PlainErrors())
        router.add(middleware: Authorization(server: self))
        addDashboard(to: router, isEncrypted: isEncrypted)
        addRuns(to: router.group("v1/runs"))
        addRecords(to: router.group("v1/runs"))
        router.get("v1/hosts") { _, _ in
            try Self.json(await control.hosts())
        }
        router.post("v1/tokens/:name") { _, context in
            let token = try await control.issueViewerToken(try tokenName(context), lifetime: nil)
            return try Self.json(IssuedToken(token: token))
        }
        router.delete("v1/tokens/:name") { _, context in
            try await control.revokeViewerTokens(try tokenName(context))
            return Response(status: .noContent)
        }
        // A link to the dashboard, for who is at the terminal.
        router.post("v1/dashboard") { _, context in
            let token = try await control.issueViewerToken(DashboardLink.name, lifetime: DashboardLink.lifetime)
            let link = DashboardLink(server: settings.url(localPort: context.port), token: token)
            return try Self.json(DashboardAddress(url: link.url))
        }
        router.get("metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: .init(byteBuffer: ByteBuffer(string: try await CoordinatorMetrics.text(of: control))))
        }
        return router
    }

    private func addRuns(to runs: RouterGroup<CoordinatorContext>) {
        runs.get { _, _ in
            try Self.json(await control.runs())
        }
        runs.post { request, _ in
            let body = try await Self.body(of: request, upTo: Limits.submissionBytes)
            guard let submission = try? CoordinatorJSON.decode(RunSubmission.self, from: Data(body.readableBytesView))
            else {
                throw HTTPError(.badRequest, message: "this is no run: configuration and working_directory are needed")
            }
            return try Self.json(try await control.submit(submission), status: .created)
        }
        runs.get(":run") { _, context in
            try Self.json(try await control.status(of: try context.parameters.require("run")))
        }
        runs.post(":run/stop") { request, context in
            let now = request.uri.queryParameters.get("now", as: Bool.self) ?? false
            try await control.stop(try context.parameters.require("run"), now: now)
            return Response(status: .accepted)
        }
        runs.post(":run/resume") { _, context in
            try await control.resume(try context.parameters.require("run"))
            return Response(status: .accepted)
        }
        runs.post(":run/launches/:launch/heartbeats") { request, context in
            let run: String = try context.parameters.require("run")
            let body = try await Self.body(of: request, upTo: Limits.bodyBytes)
            guard let heartbeat = try? Heartbeat(json: Data(body.readableBytesView)) else {
                throw HTTPError(.badRequest, message: "this is no heartbeat")
            }
            let answer = try await control.receive(
                heartbeat, launch: try context.parameters.require("launch"), run: run)
            return Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: .init(byteBuffer: ByteBuffer(string: "{\"stop\":\(answer.stop)}")))
        }
    }

    /// What a run has written.
    private func addRecords(to runs: RouterGroup<CoordinatorContext>) {
        runs.get(":run/metrics") { _, context in
            try Self.json(try await history(context).metrics())
        }
        runs.get(":run/checkpoints") { _, context in
            try Self.json(try await history(context).checkpoints())
        }
        runs.get(":run/samples") { _, context in
            try Self.json(try await history(context).samples())
        }
        runs.get(":run/samples/:step/:file") { _, context in
            let step = try context.parameters.require("step", as: Int.self)
            let file = try context.parameters.require("file", as: Int.self)
            guard let picture = try await history(context).picture(file, ofStep: step) else {
                throw HTTPError(.notFound, message: "there is no such picture")
            }
            return Response(
                status: .ok, headers: [.contentType: "image/png", .cacheControl: "private, max-age=86400"],
                body: .init(byteBuffer: ByteBuffer(bytes: picture)))
        }
        runs.get(":run/logs") { request, context in
            let files = RunFiles(try await control.directory(of: try context.parameters.require("run")))
            let query = request.uri.queryParameters
            guard
                let part = files.log(launch: query.get("launch", as: Int.self), from: query.get("offset", as: Int.self))
            else { throw HTTPError(.notFound, message: "there is no such log") }
            return try Self.json(part)
        }
    }

    private func history(_ context: CoordinatorContext) async throws -> RunHistory {
        histories.of(try await control.directory(of: try context.parameters.require("run")))
    }

    /// Names of tokens that people choose; those of workers have a space.
    private func tokenName(_ context: CoordinatorContext) throws -> String {
        let name = try context.parameters.require("name")
        guard name.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9._-]{0,63}/) != nil else {
            throw HTTPError(.badRequest, message: "the name of a token is 1 to 64 letters, digits and . _ -")
        }
        return name
    }

    /// The body of a request; one that says that it is too large is not waited for.
    private static func body(of request: Request, upTo limit: Int) async throws -> ByteBuffer {
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit {
            throw HTTPError(.contentTooLarge)
        }
        return try await request.body.collect(upTo: limit)
    }

    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: .init(byteBuffer: ByteBuffer(bytes: try CoordinatorJSON.encode(value))))
    }

    // MARK: Who may what

    /// What a request does.
    enum Intent {
        case look
        case change
        /// Sends a heartbeat of a run.
        case beat(run: String)
    }

    /// Throws unless the bearer of the request's token may do what it asks.
    func authorize(_ request: Request, _ context: CoordinatorContext, to intent: Intent) async throws {
        let bearer = await access(request, context)
        if let bearer, let connections = context.connections {
            let bound = if case .worker = bearer { connections.bounds.programs } else { connections.bounds.people }
            connections.know(context.channel, below: bound)
        }
        switch (bearer, intent) {
        case (.control, .look), (.control, .change), (.control, .beat):
            guard requests.allows("control") else { throw HTTPError(.tooManyRequests) }
        case (.viewer, .look):
            guard requests.allows("viewer") else { throw HTTPError(.tooManyRequests) }
        case (.worker(let own), .beat(let run)) where own == run:
            guard heartbeats.allows(run) else { throw HTTPError(.tooManyRequests) }
        case (.viewer, _):
            throw HTTPError(.forbidden, message: "this token may look at runs, and change nothing")
        case (.worker, _):
            throw HTTPError(.forbidden, message: "this token sends heartbeats of its own run only")
        case (nil, _):
            guard failures.allows(context.peer) else { throw HTTPError(.tooManyRequests) }
            throw HTTPError(
                .unauthorized, headers: [.wwwAuthenticate: "Bearer"], message: "a valid token is needed")
        }
    }

    /// Who sent the request; what a browser sends by itself never allows more than to look.
    private func access(_ request: Request, _ context: CoordinatorContext) async -> Access? {
        if let token = Self.bearer(request) { return await control.access(for: token) }
        guard let cookie = request.cookies[Self.cookie(context)]?.value, cookie.utf8.count <= 256 else { return nil }
        return await control.access(for: cookie) == .viewer ? .viewer : nil
    }

    static func bearer(_ request: Request) -> String? {
        guard let header = request.headers[.authorization], header.hasPrefix("Bearer "), header.utf8.count <= 256
        else { return nil }
        return String(header.dropFirst("Bearer ".count))
    }

    /// Browsers send cookies to all ports of a host: each server has its own.
    static func cookie(_ context: CoordinatorContext) -> String { "tf-coord-viewer-\(context.port)" }
}

/// A token that is shown once.
struct IssuedToken: Codable {
    let token: String
}

/// A link to the dashboard that signs a browser in.
struct DashboardAddress: Codable {
    let url: String
}

/// Tells requests where their connections have their place.
private struct Places: RouterMiddleware {
    let connections: Connections
    let port: Int?

    func handle(
        _ request: Request, context: CoordinatorContext,
        next: (Request, CoordinatorContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.connections = connections
        context.port = port ?? context.port
        return try await next(request, context)
    }
}

/// Answers heartbeats on the thread of their connections. All else may wait for disks, and would keep heartbeats waiting there.
private struct Threads: RouterMiddleware {
    func handle(
        _ request: Request, context: CoordinatorContext,
        next: (Request, CoordinatorContext) async throws -> Response
    ) async throws -> Response {
        if context.endpointPath == CoordinatorServer.heartbeatPath { return try await next(request, context) }
        return try await withTaskExecutorPreference(globalConcurrentExecutor) { try await next(request, context) }
    }
}

/// Lets in who may do what a route does. A new route is closed to all but those who may look, or change when it is no GET.
private struct Authorization: RouterMiddleware {
    let server: CoordinatorServer

    func handle(
        _ request: Request, context: CoordinatorContext,
        next: (Request, CoordinatorContext) async throws -> Response
    ) async throws -> Response {
        if let intent = try intent(of: request, context) {
            try await server.authorize(request, context, to: intent)
        }
        return try await next(request, context)
    }

    /// What a request does; nil when anybody may do it.
    private func intent(of request: Request, _ context: CoordinatorContext) throws -> CoordinatorServer.Intent? {
        switch (request.method, context.endpointPath ?? "") {
        // The page shows nothing by itself.
        case (.get, let path) where CoordinatorServer.pages.contains { $0.path == path }: nil
        // Gives a viewer a cookie for its token.
        case (.post, "/v1/session"): .look
        case (.post, CoordinatorServer.heartbeatPath):
            .beat(run: try context.parameters.require("run"))
        case (.get, _): .look
        default: .change
        }
    }
}

/// What every answer says to browsers, errors included.
private struct Headers: RouterMiddleware {
    func handle(
        _ request: Request, context: CoordinatorContext,
        next: (Request, CoordinatorContext) async throws -> Response
    ) async throws -> Response {
        var response: Response
        do {
            response = try await next(request, context)
        } catch let error as any HTTPResponseError {
            response = try error.response(from: request, context: context)
        }
        // Nothing but this server's own files runs or is shown; what runs and logs say is text.
        response.headers[.contentSecurityPolicy] =
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        response.headers[.xContentTypeOptions] = "nosniff"
        response.headers[HTTPField.Name("Referrer-Policy")!] = "no-referrer"
        response.headers[HTTPField.Name("Cross-Origin-Resource-Policy")!] = "same-origin"
        if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-store" }
        return response
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
            case .invalid: HTTPError(.badRequest, message: error.description)
            }
        } catch let error as RunStore.Failure {
            throw HTTPError(
                error.isOutOfRoom ? .init(code: 507, reasonPhrase: "Insufficient Storage") : .internalServerError,
                message: error.description)
        } catch let error
            where !(error is any HTTPResponseError || error is HTTPParserError || error is CancellationError)
        {
            // Never without the reason.
            throw HTTPError(.internalServerError, message: CommandFailure(reporting: error).description)
        }
    }
}
