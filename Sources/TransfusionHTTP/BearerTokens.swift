internal import COpenSSL
internal import Foundation

/// The tokens that a server accepts, each for what its bearer may do. It knows them by their digests only.
package struct BearerTokens<Access: Sendable & Equatable>: Sendable {
    /// What is kept of a token.
    package struct Entry: Sendable, Equatable {
        package let digest: [UInt8]
        package let access: Access
        /// What it is revoked by; nil for a token that lives as long as the server.
        package var name: String?
        /// In seconds since 1970; nil for a token that stays valid.
        package var expires: Double?

        package init(digest: [UInt8], access: Access, name: String? = nil, expires: Double? = nil) {
            self.digest = digest
            self.access = access
            self.name = name
            self.expires = expires
        }
    }

    private var entries: [Entry] = []

    package init() {}

    /// Accepts a token.
    package mutating func add(_ token: String, for access: Access) {
        add(Entry(digest: Self.digest(token), access: access))
    }

    /// Accepts a token.
    package mutating func add(_ entry: Entry) {
        entries.append(entry)
    }

    /// Accepts the tokens of a name no longer.
    /// - Returns: Whether there were any.
    @discardableResult
    package mutating func revoke(_ name: String) -> Bool {
        let count = entries.count
        entries.removeAll { $0.name == name }
        return entries.count < count
    }

    /// Who a token belongs to. Takes the same time for every token, right or wrong.
    package func access(for token: String, at time: Double = Date().timeIntervalSince1970) -> Access? {
        let digest = Self.digest(token)
        var result: Access?
        for entry in entries {
            var difference: UInt8 = entry.digest.count == digest.count ? 0 : 1
            for (a, b) in zip(entry.digest, digest) { difference |= a ^ b }
            if difference == 0, time < entry.expires ?? .infinity { result = entry.access }
        }
        return result
    }

    /// A new token of 256 random bits.
    package static func generate() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<32).map { _ in hex(UInt8.random(in: 0...255, using: &generator)) }.joined()
    }

    /// The SHA-256 of a token: what is kept of it.
    package static func digest(_ token: String) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        let bytes = Array(token.utf8)
        precondition(EVP_Digest(bytes, bytes.count, &digest, nil, EVP_sha256(), nil) == 1, "OpenSSL has no SHA-256")
        return digest
    }

    private static func hex(_ byte: UInt8) -> String {
        let text = String(byte, radix: 16)
        return text.count == 1 ? "0" + text : text
    }
}
