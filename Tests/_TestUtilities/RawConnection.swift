internal import Foundation

/// A TCP connection to a server of this host, on which a test sends what no HTTP client would.
public final class RawConnection {
    public struct Answer: Equatable, Sendable {
        public let status: Int
        public let headers: [String: String]
        public let body: String
    }

    private let socket: Int32

    /// - Parameters:
    ///   - host: The server's address, of IP version 4 or 6.
    ///   - source: The own address, for a server of IP version 4.
    public init(port: Int, host: String = "127.0.0.1", from source: String? = nil) throws {
        let family = host.contains(":") ? AF_INET6 : AF_INET
        socket = Foundation.socket(family, Int32(SOCK_STREAM.rawValue), 0)
        var time = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        if let source { try Self.call(bind, socket, source, port: 0) }
        try Self.call(connect, socket, host, port: port)
    }

    /// - Parameter socket: Connected; closed with the connection.
    public init(connected socket: Int32) {
        self.socket = socket
    }

    private static func call(
        _ function: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32, _ socket: Int32, _ host: String, port: Int
    ) throws {
        var hints = addrinfo(), list: UnsafeMutablePointer<addrinfo>?
        hints.ai_flags = AI_NUMERICHOST
        guard getaddrinfo(host, "\(port)", &hints, &list) == 0, let address = list?.pointee else {
            throw POSIXError(.EINVAL)
        }
        defer { freeaddrinfo(list) }
        guard function(socket, address.ai_addr, address.ai_addrlen) == 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
    }

    deinit {
        close(socket)
    }

    /// - Returns: Whether the server still takes it.
    @discardableResult
    public func send(_ text: String) -> Bool {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Passes on everything that comes until the server hangs up.
    func copy(to other: Int32) {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(socket, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            var rest = buffer[..<count]
            while !rest.isEmpty {
                let sent = rest.withUnsafeBytes {
                    Foundation.send(other, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard sent > 0 else { return }
                rest = rest.dropFirst(sent)
            }
        }
    }

    /// Whether the server has hung up, after at most so many seconds.
    public func isClosed(within seconds: Int) -> Bool {
        var poll = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        let deadline = Date(timeIntervalSinceNow: Double(seconds))
        var byte: UInt8 = 0
        while Date() < deadline {
            guard Foundation.poll(&poll, 1, 200) > 0 else { continue }
            if recv(socket, &byte, 1, 0) <= 0 { return true }
        }
        return false
    }

    /// Reads one answer; nil when the server hangs up before it is complete.
    public func answer() -> Answer? {
        var received = Data()
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            if let answer = Self.parse(received) { return answer }
            let count = recv(socket, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            received.append(contentsOf: buffer[..<count])
        }
    }

    private static func parse(_ data: Data) -> Answer? {
        guard let end = data.range(of: Data("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: data[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        let body = data[end.upperBound...]
        guard body.count >= length else { return nil }
        return Answer(
            status: Int(lines[0].split(separator: " ")[1]) ?? 0, headers: headers,
            body: String(decoding: body.prefix(length), as: UTF8.self))
    }

    /// Sends one request over a connection of its own.
    public static func request(
        _ method: String, _ path: String, port: Int, token: String? = nil, headers: [String: String] = [:],
        body: String = ""
    ) throws -> Answer? {
        let connection = try RawConnection(port: port)
        var head = "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n"
        if let token { head += "Authorization: Bearer \(token)\r\n" }
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        connection.send(head + "\r\n" + body)
        return connection.answer()
    }
}
