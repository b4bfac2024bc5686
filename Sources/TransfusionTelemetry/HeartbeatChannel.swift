internal import Foundation
internal import TransfusionSupport

/// Sends heartbeats to the coordinator over one HTTP connection, which is made again when it breaks. Blocks for at most a
/// few seconds. For one thread.
final class HeartbeatChannel {
    struct Answer {
        let status: Int
        let body: Data
        /// Whether the coordinator takes another request over the same connection.
        let staysOpen: Bool
    }

    private let endpointFile: String
    private let launch: String
    private var endpoint: HeartbeatEndpoint?
    private var socket: HeartbeatSocket?

    init(
        endpointFile: String,
        launch: String = HeartbeatEndpoint.launchOfThisProcess ?? "-"
    ) {
        self.endpointFile = endpointFile
        self.launch = launch
    }

    /// - Returns: What the coordinator wants.
    func send(_ heartbeat: Data) throws(FileFailure) -> HeartbeatAnswer {
        // The coordinator may have closed a connection that was idle: that is no failure yet.
        if let socket, let endpoint {
            self.socket = nil
            if let answer = try? exchange(heartbeat, socket, endpoint) { return answer }
        }
        // Read anew: a coordinator that was started again listens elsewhere.
        let endpoint = try HeartbeatEndpoint(file: endpointFile)
        self.endpoint = endpoint
        do {
            return try exchange(heartbeat, HeartbeatSocket(endpoint), endpoint)
        } catch {
            throw FileFailure(
                "\(endpoint.host):\(endpoint.port)",
                because: "the coordinator takes no heartbeats: \(error.reason); training goes on")
        }
    }

    /// Posts the heartbeat and reads the answer. Keeps the socket for the next unless the coordinator has no place for it.
    private func exchange(
        _ heartbeat: Data, _ socket: HeartbeatSocket, _ endpoint: HeartbeatEndpoint
    ) throws(HeartbeatSocket.Failure) -> HeartbeatAnswer {
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
        try socket.send(request)
        let answer = try Self.readAnswer(socket)
        guard answer.status == 200 else {
            throw HeartbeatSocket.Failure(reason: "it answers with status \(answer.status)")
        }
        guard let content = try? JSONDecoder().decode(HeartbeatAnswer.self, from: answer.body) else {
            throw HeartbeatSocket.Failure(reason: "its answer makes no sense")
        }
        if answer.staysOpen { self.socket = socket }
        return content
    }

    /// Reads a whole answer, so that the next finds the connection empty.
    private static func readAnswer(
        _ socket: HeartbeatSocket
    ) throws(HeartbeatSocket.Failure) -> Answer {
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while answer.count < 64 << 10 {
            answer += buffer[..<(try socket.receive(into: &buffer))]
            if let answer = parse(answer) { return answer }
        }
        throw HeartbeatSocket.Failure(reason: "its answer is too long")
    }

    /// The parts of an answer; nil as long as it is not complete.
    static func parse(_ answer: [UInt8]) -> Answer? {
        let separator = Array("\r\n\r\n".utf8)
        guard let end = answer.indices.first(where: { answer[$0...].starts(with: separator) }) else { return nil }
        let lines = String(decoding: answer[..<end], as: UTF8.self).components(separatedBy: "\r\n")
        func header(_ name: String) -> String? {
            for line in lines.dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1)
                guard parts.count == 2, parts[0].lowercased() == name else { continue }
                return parts[1].trimmingCharacters(in: .whitespaces)
            }
            return nil
        }
        let body = answer[(end + separator.count)...]
        let length = max(0, header("content-length").flatMap { Int($0) } ?? 0)
        guard body.count >= length else { return nil }
        let words = lines[0].split(separator: " ")
        return Answer(
            status: words.count > 1 ? Int(words[1]) ?? 0 : 0, body: Data(body.prefix(length)),
            staysOpen: header("connection")?.lowercased() != "close")
    }
}
