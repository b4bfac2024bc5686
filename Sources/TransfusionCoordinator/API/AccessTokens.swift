internal import COpenSSL
internal import Foundation

/// The tokens that a server accepts. It knows them by their digests only.
public struct AccessTokens: Sendable {
    private var entries: [(digest: [UInt8], access: Access)] = []

    public init() {}

    /// Accepts a token.
    public mutating func add(_ token: String, for access: Access) {
        add(digest: Self.digest(token), for: access)
    }

    /// Accepts the token with this digest, for servers that keep digests in a file.
    public mutating func add(digest: [UInt8], for access: Access) {
        entries.append((digest, access))
    }

    /// Who a token belongs to. Takes the same time for every token, right or wrong.
    public func access(for token: String) -> Access? {
        let digest = Self.digest(token)
        var result: Access?
        for entry in entries {
            var difference: UInt8 = entry.digest.count == digest.count ? 0 : 1
            for (a, b) in zip(entry.digest, digest) { difference |= a ^ b }
            if difference == 0 { result = entry.access }
        }
        return result
    }

    /// A new token of 256 random bits.
    public static func generate() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<32).map { _ in hex(UInt8.random(in: 0...255, using: &generator)) }.joined()
    }

    /// The SHA-256 of a token: what is kept of it.
    public static func digest(_ token: String) -> [UInt8] {
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
