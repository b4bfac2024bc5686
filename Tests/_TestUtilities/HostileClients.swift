internal import Foundation
internal import Synchronization

/// Connections to a server of this host that say nothing, or ever so slowly, from two addresses. Each that the server closes
/// is made again.
public final class HostileClients: Sendable {
    private enum Kind: CaseIterable {
        case idle
        /// A head of a request, byte by byte.
        case slowHead
        /// A body, byte by byte, after a head without a token.
        case slowBody
        /// What is no HTTP.
        case noise

        private static let head = Array(
            ("GET /v1/runs HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "x", count: 1000)).utf8)
        private static let body = Array(
            ("POST /v1/runs HTTP/1.1\r\nContent-Length: 900\r\n\r\n" + String(repeating: "x", count: 900)).utf8)
        private static let noiseBytes = Array(String(repeating: "\u{1}\u{7f}", count: 500).utf8)

        /// What it says, made once: the clients share the processors with what they attack.
        var bytes: [UInt8]? {
            switch self {
            case .idle: nil
            case .slowHead: Self.head
            case .slowBody: Self.body
            case .noise: Self.noiseBytes
            }
        }
    }

    private struct Client {
        var socket: Int32
        var kind: Kind
        var sent = 0
    }

    private let port: Int
    private let count: Int
    private let isStopped = Atomic(false)
    private let hasEnded = Atomic(false)
    private let closedCount = Atomic(0)
    private let openCount = Atomic(0)

    /// Times that the server has closed a connection.
    public var closed: Int { closedCount.load(ordering: .relaxed) }
    /// Connections that are open now, as far as the clients know.
    public var open: Int { openCount.load(ordering: .relaxed) }

    /// Begins to connect.
    /// - Parameter count: As many as this process can have, at most.
    public init(port: Int, count: Int) {
        self.port = port
        var limits = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        getrlimit(resource, &limits)
        limits.rlim_cur = min(limits.rlim_max, max(limits.rlim_cur, rlim_t(count + 256)))
        setrlimit(resource, &limits)
        self.count = min(count, Int(limits.rlim_cur) - 256)
        Thread.detachNewThread { [self] in run() }
    }

    /// Ends all of them.
    public func stop() {
        isStopped.store(true, ordering: .relaxed)
        while !hasEnded.load(ordering: .acquiring) { usleep(10_000) }
    }

    private func run() {
        var clients = (0..<count).map { Client(socket: -1, kind: Kind.allCases[$0 % Kind.allCases.count]) }
        var round = 0
        while !isStopped.load(ordering: .relaxed) {
            // At most so many new ones in each round of 0.1 s, so that they do not take the processor from what they attack.
            var newcomers = 100
            let isHeard = readable(clients.map(\.socket))
            for index in clients.indices {
                if isHeard[index], isClosed(clients[index].socket) {
                    close(clients[index].socket)
                    clients[index] = Client(socket: -1, kind: clients[index].kind)
                    closedCount.add(1, ordering: .relaxed)
                }
                if clients[index].socket < 0, newcomers > 0 {
                    newcomers -= 1
                    clients[index].socket = connect(from: index % 2 == 0 ? "127.0.0.1" : "127.0.0.2")
                }
            }
            openCount.store(clients.count { $0.socket >= 0 }, ordering: .relaxed)
            // Each says a byte a second, in turn.
            for index in clients.indices where index % 10 == round % 10 && clients[index].socket >= 0 {
                dribble(&clients[index])
            }
            round += 1
            usleep(100_000)
        }
        for client in clients where client.socket >= 0 { close(client.socket) }
        hasEnded.store(true, ordering: .releasing)
    }

    /// Which sockets have something to read, or their end, found by one call for all.
    private func readable(_ sockets: [Int32]) -> [Bool] {
        var entries = sockets.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        poll(&entries, nfds_t(entries.count), 0)
        return entries.map { $0.fd >= 0 && $0.revents != 0 }
    }

    private func isClosed(_ socket: Int32) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 512)
        let received = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        return received == 0 || (received < 0 && ![EAGAIN, EINTR, ENOTCONN].contains(errno))
    }

    private func dribble(_ client: inout Client) {
        guard let bytes = client.kind.bytes else { return }
        let next = client.kind == .slowBody && client.sent == 0 ? 46 : 1
        guard client.sent + next <= bytes.count else { return }
        let sent = bytes.withUnsafeBytes {
            send(client.socket, $0.baseAddress! + client.sent, next, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        }
        client.sent += max(0, sent)
    }

    private func connect(from source: String) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let socket = Foundation.socket(AF_INET, type, 0)
        guard socket >= 0 else { return -1 }
        func address(_ text: String, _ port: Int) -> sockaddr_in {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            address.sin_addr.s_addr = inet_addr(text)
            return address
        }
        func with(_ address: sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
            withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        guard with(address(source, 0), { bind(socket, $0, $1) }) == 0,
            with(address("127.0.0.1", port), { Foundation.connect(socket, $0, $1) }) == 0 || errno == EINPROGRESS
        else {
            close(socket)
            return -1
        }
        return socket
    }
}
