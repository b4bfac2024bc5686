internal import COpenSSL
internal import Glibc
internal import TransfusionCore

/// A key that chunks are encrypted with: AES-256-GCM.
///
/// A stored chunk is then 12 random bytes (the nonce), the encrypted bytes, and 16 bytes that prove that neither they
/// nor the chunk's place were changed.
struct EncryptionKey: Sendable {
    static let cipher = "aes-256-gcm"
    /// What encryption adds to a chunk.
    static let addedBytes = nonceBytes + tagBytes
    private static let nonceBytes = 12
    private static let tagBytes = 16

    private let bytes: [UInt8]

    /// Reads a key of 32 bytes, written as 64 hexadecimal digits.
    init(file path: String) throws(CheckpointError) {
        let text: [UInt8]
        do {
            text = try POSIXFileSystem().contents(path, limit: 4096)
        } catch let error as FileSystemError where !error.isAboutContents && !error.isForbidden {
            throw CheckpointError(error, at: path)
        } catch {
            let problem = (error as? CheckpointError)?.problem ?? CheckpointError(error, at: path).problem
            throw CheckpointError(path, problem, reason: .key)
        }
        let digits = text.prefix { $0 != UInt8(ascii: "\n") }.map { Character(Unicode.Scalar($0)).hexDigitValue ?? 16 }
        guard digits.count == 64, digits.allSatisfy({ $0 < 16 }) else {
            throw CheckpointError(
                path, "holds no key; 64 hexadecimal digits are one, as 'openssl rand -hex 32' prints", reason: .key)
        }
        bytes = stride(from: 0, to: 64, by: 2).map { UInt8(16 * digits[$0] + digits[$0 + 1]) }
    }

    /// Tells a wrong key without giving the key away.
    var check: String { String(SHA256.hexDigest(Array("transfusion-checkpoint".utf8) + bytes).prefix(16)) }

    /// - Parameter place: What the chunk is; it opens under the same name only.
    func seal(_ contents: UnsafeRawBufferPointer, place: String) throws -> [UInt8] {
        var result = [UInt8](repeating: 0, count: Self.nonceBytes + contents.count + Self.tagBytes)
        let succeeded = result.withUnsafeMutableBufferPointer { buffer in
            let nonce = buffer.baseAddress!
            let body = nonce + Self.nonceBytes
            guard RAND_bytes(nonce, Int32(Self.nonceBytes)) == 1 else { return false }
            return crypt(nonce, place, contents.octets, contents.count, body, encrypts: true) { context in
                EVP_CIPHER_CTX_ctrl(
                    context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagBytes), body + contents.count) == 1
            }
        }
        guard succeeded else { throw Failure(description: "OpenSSL could not encrypt") }
        return result
    }

    func open(_ stored: UnsafeRawBufferPointer, place: String) throws -> [UInt8] {
        guard stored.count >= Self.addedBytes, let nonce = stored.octets else {
            throw Failure(description: "is too short to be encrypted")
        }
        let count = stored.count - Self.addedBytes
        var tag = Array(stored.suffix(Self.tagBytes))
        var result = [UInt8](repeating: 0, count: max(1, count))
        let succeeded = result.withUnsafeMutableBufferPointer { body in
            crypt(nonce, place, nonce + Self.nonceBytes, count, body.baseAddress!, encrypts: false) { context in
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagBytes), &tag) == 1
            }
        }
        guard succeeded else { throw Failure(description: "was not encrypted with this key for this place") }
        return Array(result.prefix(count))
    }

    private struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// One pass of the cipher. The tag is set before the end when decrypting, and fetched after it when encrypting.
    private func crypt(
        _ nonce: UnsafePointer<UInt8>, _ place: String, _ input: UnsafePointer<UInt8>?, _ count: Int,
        _ output: UnsafeMutablePointer<UInt8>, encrypts: Bool, tag: (OpaquePointer) -> Bool
    ) -> Bool {
        guard let context = EVP_CIPHER_CTX_new() else { return false }
        defer { EVP_CIPHER_CTX_free(context) }
        var length: Int32 = 0
        let place = Array(place.utf8)
        guard EVP_CipherInit_ex(context, EVP_aes_256_gcm(), nil, bytes, nonce, encrypts ? 1 : 0) == 1,
            EVP_CipherUpdate(context, nil, &length, place, Int32(place.count)) == 1,
            EVP_CipherUpdate(context, output, &length, input, Int32(count)) == 1
        else { return false }
        if encrypts { return EVP_CipherFinal_ex(context, output + count, &length) == 1 && tag(context) }
        return tag(context) && EVP_CipherFinal_ex(context, output + count, &length) == 1
    }
}

extension UnsafeRawBufferPointer {
    fileprivate var octets: UnsafePointer<UInt8>? { baseAddress?.assumingMemoryBound(to: UInt8.self) }
}
