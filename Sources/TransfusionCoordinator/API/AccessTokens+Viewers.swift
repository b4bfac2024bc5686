internal import Foundation
internal import TransfusionHTTP

/// The tokens of a coordinator.
typealias AccessTokens = BearerTokens<Access>

extension AccessTokens {
    /// Makes a token that may look at everything.
    /// - Parameter lifetime: In seconds; nil for ever.
    /// - Returns: The token, which nobody can find out again, and what is kept of it.
    mutating func issueViewer(_ name: String, lifetime: Double?) -> (token: String, entry: Entry) {
        let token = Self.generate()
        let expires = lifetime.map { Date().timeIntervalSince1970 + $0 }
        let entry = Entry(digest: Self.digest(token), access: .viewer, name: name, expires: expires)
        add(entry)
        return (token, entry)
    }
}
