internal import COpenSSL

/// SHA-256 through OpenSSL, which uses the processor's instructions for it.
public enum SHA256 {
    /// The digest as 64 lower-case hexadecimal digits.
    public static func hexDigest(_ bytes: UnsafeRawBufferPointer) -> String {
        hexadecimal(digest(bytes))
    }

    /// The first 128 bits of the digest: a short name for contents.
    public static func shortDigest(_ bytes: UnsafeRawBufferPointer) -> UInt128 {
        digest(bytes).prefix(16).reduce(0) { $0 << 8 | UInt128($1) }
    }

    private static func digest(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        let status = EVP_Digest(bytes.baseAddress, bytes.count, &digest, nil, EVP_sha256(), nil)
        precondition(status == 1, "OpenSSL has no SHA-256")
        return digest
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// The digest of much, as `hexDigest` gives it.
    /// - Parameter progress: Told how many bytes are done.
    public static func hexDigest(_ bytes: UnsafeRawBufferPointer, progress: (Int) -> Void) -> String {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        var digest = [UInt8](repeating: 0, count: 32)
        var status = EVP_DigestInit_ex(context, EVP_sha256(), nil)
        for start in stride(from: 0, to: bytes.count, by: 1 << 26) where status == 1 {
            let piece = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + (1 << 26), bytes.count)])
            status = EVP_DigestUpdate(context, piece.baseAddress, piece.count)
            progress(start + piece.count)
        }
        if status == 1 { status = EVP_DigestFinal_ex(context, &digest, nil) }
        precondition(status == 1, "OpenSSL has no SHA-256")
        return hexadecimal(digest)
    }

    public static func hexDigest(_ bytes: some Sequence<UInt8>) -> String {
        Array(bytes).withUnsafeBytes { hexDigest($0) }
    }
}
