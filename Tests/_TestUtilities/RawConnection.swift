internal import Foundation

/// A TCP connection to a server of this host, on which a test sends what no HTTP client would.
public final class RawConnection {
    public struct Answer: Equatable, Sendable {
        public let status: Int
        public let headers: [String: String]
        public let body: String
    }

    private let socket: Int32

    public init(port: Int) throws {
        socket = Foundation.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var time = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
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
