/// What another program says of its ways to save and load.
public struct CheckpointComparison: Sendable, Decodable {
    public let ways: [String: Way]

    public struct Way: Sendable, Codable {
        public let bytes: Int
        public let writeSeconds: Double
        public let readSeconds: Double

        enum CodingKeys: String, CodingKey {
            case bytes
            case writeSeconds = "write_s"
            case readSeconds = "read_s"
        }
    }

    /// The medians of each way that the first run has.
    public static func medians(_ runs: [CheckpointComparison]) -> [String: Way] {
        guard let first = runs.first else { return [:] }
        return first.ways.reduce(into: [:]) { result, entry in
            let all = runs.compactMap { $0.ways[entry.key] }
            result[entry.key] = Way(
                bytes: entry.value.bytes, writeSeconds: median(all.map(\.writeSeconds)),
                readSeconds: median(all.map(\.readSeconds)))
        }
    }
}
