internal import COpenSSL
internal import Foundation
internal import TransfusionSupport

/// A connection whose every wait has a bound, encrypted if the other side has a certificate. For one thread.
final class HeartbeatSocket {
    struct Failure: Error {
        let reason: String
    }

    private let descriptor: Int32
    private var tls: OpaquePointer?

    /// The longest wait, in seconds, at each of connecting, sending and receiving. Behind many who crowd the port, a connection
    /// waits some seconds until the coordinator takes it.
    private static let patience = 10

    init(_ endpoint: HeartbeatEndpoint) throws(Failure) {
        if let path = endpoint.socket, let socket = try? PrivateSocket(path),
            let connected = socket.connect(patience: Self.patience)
        {
            descriptor = connected
            return
        }
        descriptor = try Self.connect(endpoint.host, endpoint.port)
        guard let certificate = endpoint.certificate else { return }
        do {
            tls = try Self.encrypt(descriptor, certificate)
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit {
        if let tls {
            SSL_shutdown(tls)
            SSL_free(tls)
        }
        close(descriptor)
    }

    func send(_ data: Data) throws(Failure) {
        var rest = data[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { bytes in
                tls.map { Int(SSL_write($0, bytes.baseAddress, Int32(bytes.count))) }
                    ?? Foundation.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            }
            if tls == nil, count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure(reason: String(cString: strerror(errno))) }
            rest = rest.dropFirst(count)
        }
    }

    /// - Returns: How many bytes came, at least one.
    func receive(into buffer: inout [UInt8]) throws(Failure) -> Int {
        while true {
            let count =
                tls.map { Int(SSL_read($0, &buffer, Int32(buffer.count))) }
                ?? recv(descriptor, &buffer, buffer.count, 0)
            if tls == nil, count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw Failure(reason: count == 0 ? "it hung up" : String(cString: strerror(errno)))
            }
            return count
        }
    }

    private static func connect(_ host: String, _ port: Int) throws(Failure) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var addresses: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &addresses) == 0 else {
            throw Failure(reason: "its host is not known")
        }
        defer { freeaddrinfo(addresses) }
        var next = addresses
        var reason = "it has no address"
        while let address = next?.pointee {
            if let connected = connect(to: address) { return connected }
            reason = String(cString: strerror(errno))
            next = address.ai_next
        }
        throw Failure(reason: reason)
    }

    private static func connect(to address: addrinfo) -> Int32? {
        let type = address.ai_socktype | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.ai_family, type, address.ai_protocol)
        guard descriptor >= 0 else { return nil }
        // On Linux the time to send also bounds the time to connect.
        var time = timeval(tv_sec: patience, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
        guard Foundation.connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 else {
            let number = errno
            close(descriptor)
            errno = number
            return nil
        }
        return descriptor
    }

    private static func encrypt(_ descriptor: Int32, _ certificate: String) throws(Failure) -> OpaquePointer {
        guard let memory = BIO_new_mem_buf(certificate, Int32(certificate.utf8.count)) else {
            throw Failure(reason: "there is no memory")
        }
        defer { BIO_free(memory) }
        guard let trusted = PEM_read_bio_X509(memory, nil, nil, nil) else {
            throw Failure(reason: "its file holds no certificate")
        }
        defer { X509_free(trusted) }
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw Failure(reason: "OpenSSL does not start") }
        defer { SSL_CTX_free(context) }
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context), trusted)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        guard let tls = SSL_new(context) else { throw Failure(reason: "OpenSSL does not start") }
        guard SSL_set_fd(tls, descriptor) == 1, SSL_connect(tls) == 1 else {
            let result = SSL_get_verify_result(tls)
            SSL_free(tls)
            throw Failure(
                reason: result == X509_V_OK
                    ? "it does not take part in TLS"
                    : "its certificate is not the one in the file (\(String(cString: X509_verify_cert_error_string(Int(result)))))"
            )
        }
        return tls
    }
}
