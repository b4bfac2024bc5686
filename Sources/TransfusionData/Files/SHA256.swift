internal import COpenSSL

/// SHA-256 of bytes, as 64 lower-case hexadecimal digits.
public enum SHA256 {
    public static func hex(_ bytes: some ContiguousBytes) -> String {
        bytes.withBytes { buffer in
            var digest = [UInt8](repeating: 0, count: 32)
            var length: UInt32 = 0
            let succeeded = EVP_Digest(buffer.baseAddress, buffer.count, &digest, &length, EVP_sha256(), nil)
            precondition(succeeded == 1 && length == 32, "libcrypto has no SHA-256")
            return digest.map { byte in
                let digits = String(byte, radix: 16)
                return byte < 16 ? "0" + digits : digits
            }.joined()
        }
    }
}

/// Bytes that lie in one piece of memory.
public protocol ContiguousBytes {
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result
}

extension [UInt8]: ContiguousBytes {
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withUnsafeBytes(body)
    }
}

extension UnsafeRawBufferPointer: ContiguousBytes {
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        body(self)
    }
}
