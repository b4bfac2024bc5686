internal import AsyncHTTPClient
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
internal import TransfusionConfig
internal import TransfusionSupport

/// Asks a coordinator of this host: that of a foreground run, or a daemon.
public struct CoordinatorClient: Sendable {
    private let url: String
    private let token: String
    /// Where the coordinator listens for this user alone, if it does on this host.
    private let socket: PrivateSocket?
    private static let timeout = TimeAmount.seconds(10)

    init(url: String, socket: String?, token: String) {
        self.url = url
        self.token = token
        self.socket = socket.flatMap { path in
            guard let socket = try? PrivateSocket(path), let descriptor = socket.connect(patience: 1) else {
                return nil
            }
            close(descriptor)
            return socket
        }
    }

    public init(_ daemon: DaemonEndpoint) {
        self.init(url: daemon.url, socket: daemon.socket, token: daemon.token)
    }

    // MARK: Runs

    public func runs() async throws -> [RunSummary] { try decode(await ask(.GET, "/v1/runs")) }

    public func status(of run: String) async throws -> RunStatus { try decode(await ask(.GET, Self.path(of: run))) }

    public func submit(_ submission: RunSubmission) async throws -> RunSummary {
        try decode(await ask(.POST, "/v1/runs", body: CoordinatorJSON.encode(submission)))
    }

    public func stop(_ run: String, now: Bool) async throws {
        _ = try await ask(.POST, Self.path(of: run) + "/stop?now=\(now)")
    }

    public func resume(_ run: String) async throws { _ = try await ask(.POST, Self.path(of: run) + "/resume") }

    /// A run may be called by a path, too.
    private static func path(of run: String) -> String {
        "/v1/runs/" + (run.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "-")
    }

    // MARK: The coordinator

    public func hosts() async throws -> [RunStatus.HostStatus] { try decode(await ask(.GET, "/v1/hosts")) }

    /// An address that shows the dashboard in a browser, and signs it in.
    public func dashboard() async throws -> String {
        let address: DashboardAddress = try decode(await ask(.POST, "/v1/dashboard"))
        return address.url
    }

    /// Makes a token that may look at everything; the server does not show it again.
    public func issueToken(_ name: String) async throws -> String {
        let answer: IssuedToken = try decode(await ask(.POST, "/v1/tokens/\(name)"))
        return answer.token
    }

    /// Takes back all tokens of a name; `dashboard` are those of links.
    public func revokeTokens(_ name: String) async throws { _ = try await ask(.DELETE, "/v1/tokens/\(name)") }

    // MARK: HTTP

    private func decode<Value: Decodable>(_ data: Data) throws -> Value {
        do {
            return try CoordinatorJSON.decode(Value.self, from: data)
        } catch {
            throw CommandFailure("\(url): the answer makes no sense; is it a tf-coord of another version?")
        }
    }

    private func ask(_ method: HTTPMethod, _ path: String, body: Data? = nil) async throws -> Data {
        // A path as a host: what HTTP clients call such an address.
        let base = socket.flatMap { $0.address.addingPercentEncoding(withAllowedCharacters: .alphanumerics) }
            .map { "http+unix://" + $0 }
        var request = HTTPClientRequest(url: (base ?? url) + path)
        request.method = method
        request.headers.add(name: "Authorization", value: "Bearer \(token)")
        if let body { request.body = .bytes(ByteBuffer(bytes: body)) }
        let response: HTTPClientResponse
        do {
            response = try await HTTPClient.shared.execute(request, timeout: Self.timeout)
        } catch {
            throw CommandFailure("\(url): tf-coord does not answer (\(error))")
        }
        let answer = Data((try await response.body.collect(upTo: 64 << 20)).readableBytesView)
        guard (200..<300).contains(response.status.code) else {
            // A refusal of the request itself is wrong use; its reason is written for people.
            let refusal = try? JSONDecoder().decode(Refusal.self, from: answer)
            throw CommandFailure(
                refusal?.error.message ?? "\(url): tf-coord refuses (\(response.status))",
                [.badRequest, .notFound, .conflict].contains(response.status) ? .wrongUse : .failure)
        }
        return answer
    }

    /// How the server words an error.
    private struct Refusal: Decodable {
        struct Reason: Decodable {
            let message: String
        }

        let error: Reason
    }
}
