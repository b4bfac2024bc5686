internal import COpenSSL

/// SHA-256 through OpenSSL, which uses the processor's instructions for it.
public enum SHA256 {
    /// The digest as 64 lower-case hexadecimal digits.
    public static func hexDigest(_ bytes: UnsafeRawBufferPointer) -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        let status = EVP_Digest(bytes.baseAddress, bytes.count, &digest, nil, EVP_sha256(), nil)
        precondition(status == 1, "OpenSSL has no SHA-256")
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    public static func hexDigest(_ bytes: some Sequence<UInt8>) -> String {
        Array(bytes).withUnsafeBytes { hexDigest($0) }
    }
}
