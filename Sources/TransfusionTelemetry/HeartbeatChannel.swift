internal import Foundation
internal import TransfusionConfig

/// Sends heartbeats to the coordinator over one HTTP connection, which is made again when it breaks. Blocks for at most a
/// few seconds. For one thread.
final class HeartbeatChannel {
    private let endpointFile: String
    private let launch: String
    private var endpoint: HeartbeatEndpoint?
    private var socket: Int32 = -1

    /// The longest wait for the coordinator, in seconds, at each of connecting, sending and receiving.
    private static let patience = 2

    init(
        endpointFile: String,
        launch: String = ProcessInfo.processInfo.environment[HeartbeatEndpoint.launchVariable] ?? "-"
    ) {
        self.endpointFile = endpointFile
        self.launch = launch
    }

    deinit {
        disconnect()
    }

    /// - Returns: What the coordinator wants.
    func send(_ heartbeat: Data) throws(FileFailure) -> HeartbeatAnswer {
        do throws(FileFailure) {
            // The coordinator may have closed a connection that was idle: that is no failure yet.
            if socket >= 0, let answer = try? exchange(heartbeat) { return answer }
            try connect()
            return try exchange(heartbeat)
        } catch {
            disconnect()
            throw error
        }
    }

    private func failure(_ reason: String) -> FileFailure {
        let place = endpoint.map { "\($0.host):\($0.port)" } ?? endpointFile
        return FileFailure(place, because: "the coordinator takes no heartbeats: \(reason); training goes on")
    }

    private func disconnect() {
        if socket >= 0 { close(socket) }
        socket = -1
    }

    private func connect() throws(FileFailure) {
        disconnect()
        let endpoint = try HeartbeatEndpoint(file: endpointFile)
        self.endpoint = endpoint
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var addresses: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(endpoint.host, String(endpoint.port), &hints, &addresses) == 0 else {
            throw failure("its host is not known")
        }
        defer { freeaddrinfo(addresses) }
        var next = addresses
        var reason = "it has no address"
        while let address = next?.pointee {
            if let connected = Self.connect(to: address) {
                socket = connected
                return
            }
            reason = String(cString: strerror(errno))
            next = address.ai_next
        }
        throw failure(reason)
    }

    private static func connect(to address: addrinfo) -> Int32? {
        let type = address.ai_socktype | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = Foundation.socket(address.ai_family, type, address.ai_protocol)
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

    /// Posts the heartbeat and reads the answer.
    private func exchange(_ heartbeat: Data) throws(FileFailure) -> HeartbeatAnswer {
        guard let endpoint else { throw failure("there is no connection") }
        var request = Data(
            """
            POST /v1/runs/\(endpoint.run)/launches/\(launch)/heartbeats HTTP/1.1\r
            Host: \(endpoint.host)\r
            Authorization: Bearer \(endpoint.token)\r
            Content-Type: application/json\r
            Content-Length: \(heartbeat.count)\r
            \r

            """.utf8)
        request.append(heartbeat)
        try write(request)
        let answer = try readAnswer()
        guard answer.status == 200 else { throw failure("it answers with status \(answer.status)") }
        guard let content = try? JSONDecoder().decode(HeartbeatAnswer.self, from: answer.body) else {
            throw failure("its answer makes no sense")
        }
        return content
    }

    private func write(_ data: Data) throws(FileFailure) {
        var rest = data[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Foundation.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(String(cString: strerror(errno))) }
            rest = rest.dropFirst(count)
        }
    }

    /// Reads a whole answer, so that the next finds the connection empty.
    private func readAnswer() throws(FileFailure) -> (status: Int, body: Data) {
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while answer.count < 64 << 10 {
            let count = recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(count == 0 ? "it hung up" : String(cString: strerror(errno))) }
            answer += buffer[..<count]
            if let answer = Self.parse(answer) { return answer }
        }
        throw failure("its answer is too long")
    }

    /// The parts of an answer; nil as long as it is not complete.
    static func parse(_ answer: [UInt8]) -> (status: Int, body: Data)? {
        let separator = Array("\r\n\r\n".utf8)
        guard let end = answer.indices.first(where: { answer[$0...].starts(with: separator) }) else { return nil }
        let lines = String(decoding: answer[..<end], as: UTF8.self).components(separatedBy: "\r\n")
        let lengths = lines.dropFirst().compactMap { line -> Int? in
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "content-length" else { return nil }
            return Int(parts[1].trimmingCharacters(in: .whitespaces))
        }
        let body = answer[(end + separator.count)...]
        let length = max(0, lengths.first ?? 0)
        guard body.count >= length else { return nil }
        let words = lines[0].split(separator: " ")
        return (words.count > 1 ? Int(words[1]) ?? 0 : 0, Data(body.prefix(length)))
    }
}
