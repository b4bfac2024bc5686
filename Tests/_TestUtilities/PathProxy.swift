internal import Foundation
internal import Synchronization

/// A proxy that shows a server of this host below a path, as those of Jupyter and Open OnDemand do: it takes the path off,
/// and answers everything else with 404.
public final class PathProxy: Sendable {
    public let port: Int
    private let listener: Int32
    private let target: Int
    private let prefix: String
    private let missed = Mutex<[String]>([])

    /// Paths that were asked for and do not lie below the prefix.
    public var strays: [String] { missed.withLock(\.self) }

    /// - Parameter prefix: Begins and ends with a slash.
    public init(to target: Int, below prefix: String) throws {
        self.target = target
        self.prefix = prefix
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in(), length = socklen_t(MemoryLayout<sockaddr_in>.size)
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let listener = listener
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard isBound else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        port = Int(in_port_t(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                Thread.detachNewThread { [self] in serve(client) }
            }
        }
    }

    /// Takes no more connections.
    public func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    /// One request a connection.
    private func serve(_ client: Int32) {
        defer { close(client) }
        guard let request = read(client) else { return }
        let line = request.split(separator: "\r\n", maxSplits: 1)
        let words = line.first?.split(separator: " ") ?? []
        guard line.count == 2, words.count == 3 else { return }
        guard words[1].hasPrefix(prefix) else {
            missed.withLock { $0.append(String(words[1])) }
            write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", to: client)
            return
        }
        guard let server = try? RawConnection(port: target) else { return }
        let path = "/" + words[1].dropFirst(prefix.count)
        let rest = line[1].replacing("Connection: keep-alive\r\n", with: "")
        server.send("\(words[0]) \(path) HTTP/1.1\r\nConnection: close\r\n\(rest)")
        server.copy(to: client)
    }

    /// A request with its body, which the page only has as text.
    private func read(_ client: Int32) -> String? {
        var received = Data(), buffer = [UInt8](repeating: 0, count: 1 << 14)
        while received.count < 1 << 20 {
            let count = recv(client, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            received.append(contentsOf: buffer[..<count])
            guard let end = received.range(of: Data("\r\n\r\n".utf8)) else { continue }
            let head = String(decoding: received[..<end.lowerBound], as: UTF8.self).lowercased()
            let length = head.firstMatch(of: /content-length: *(\d+)/).flatMap { Int($0.1) } ?? 0
            if received.count >= end.upperBound + length { return String(decoding: received, as: UTF8.self) }
        }
        return nil
    }

    private func write(_ text: String, to client: Int32) {
        let bytes = Array(text.utf8)
        _ = send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }
}
