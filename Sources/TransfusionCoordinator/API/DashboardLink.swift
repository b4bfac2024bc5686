/// What opens the dashboard in a browser with one click.
public struct DashboardLink: Sendable {
    /// The server without a token: shows nothing but a hint.
    public let server: String
    private let token: String

    /// Of the tokens in all links.
    static let name = "dashboard"
    /// A browser stays signed in so long.
    static let lifetime = 30.0 * 86400

    init(server: String, token: String) {
        self.server = server
        self.token = token
    }

    /// With the token, in the part of an address that browsers do not send.
    public var url: String { "\(server)/#token=\(token)" }
}
