internal import COpenSSL
internal import Foundation
package import HummingbirdTLS
internal import TransfusionConfig

/// A certificate that a server makes for itself when it starts. The key stays in its memory; who is to trust the
/// certificate finds it in a file that only the user can read, and trusts no other.
package struct TLSIdentity: Sendable {
    /// PEM.
    package let certificate: String
    private let key: String

    /// Longer than any run; the next start of the server makes a new one.
    private static let lifetime = 10 * 365 * 86_400

    /// - Parameter owner: The program, which is also the host's name in the certificate.
    package init(of owner: String) throws {
        guard let context = EVP_PKEY_CTX_new_from_name(nil, "EC", nil) else { throw Self.failure }
        defer { EVP_PKEY_CTX_free(context) }
        var pair: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_CTX_set_group_name(context, "P-256") == 1,
            EVP_PKEY_generate(context, &pair) == 1, let certificate = X509_new()
        else { throw Self.failure }
        defer {
            EVP_PKEY_free(pair)
            X509_free(certificate)
        }
        let serial = UInt64.random(in: 1...UInt64(Int64.max))
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial)
        // An hour back, for hosts whose clocks are slow.
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600)
        X509_gmtime_adj(X509_getm_notAfter(certificate), Self.lifetime)
        X509_set_pubkey(certificate, pair)
        let name = X509_get_subject_name(certificate)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, owner, -1, -1, 0)
        X509_set_issuer_name(certificate, name)
        guard let names = X509V3_EXT_conf_nid(nil, nil, NID_subject_alt_name, "DNS:\(owner)") else {
            throw Self.failure
        }
        defer { X509_EXTENSION_free(names) }
        guard X509_add_ext(certificate, names, -1) == 1, X509_sign(certificate, pair, EVP_sha256()) > 0 else {
            throw Self.failure
        }
        self.certificate = try Self.text { PEM_write_bio_X509($0, certificate) }
        key = try Self.text { PEM_write_bio_PrivateKey($0, pair, nil, nil, 0, nil, nil) }
    }

    package var serverConfiguration: TLSConfiguration {
        get throws {
            .makeServerConfiguration(
                certificateChain: [.certificate(try NIOSSLCertificate(bytes: Array(certificate.utf8), format: .pem))],
                privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem)))
        }
    }

    private static func text(_ write: (OpaquePointer) -> Int32) throws -> String {
        guard let memory = BIO_new(BIO_s_mem()) else { throw failure }
        defer { BIO_free(memory) }
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        guard write(memory) == 1 else { throw failure }
        let count = BIO_read(memory, &buffer, Int32(buffer.count))
        guard count > 0 else { throw failure }
        return String(decoding: buffer[..<Int(count)], as: UTF8.self)
    }

    private static var failure: CommandFailure {
        CommandFailure("OpenSSL cannot make a certificate for the server")
    }
}
