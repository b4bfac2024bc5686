/// Training steps beside another program's: above 1 is faster, below 1 less memory.
public struct StepComparison: Sendable, Codable {
    public let tokensPerSecond: Double
    public let runs: Int
    public let speedRatio: Double
    public let memoryRatio: Double?

    /// What the other program says of itself.
    public struct Baseline: Sendable, Decodable {
        let tokensPerSecond: Double
        let peakMebibytes: Double?

        private enum CodingKeys: String, CodingKey {
            case tokensPerSecond = "tokens_per_s"
            case peakMebibytes = "peak_rss_mib"
        }
    }

    /// - Returns: Nil without runs of another program.
    public init?(_ result: StepBenchmark.Result, _ baselines: [Baseline]) {
        guard !baselines.isEmpty else { return nil }
        tokensPerSecond = median(baselines.map(\.tokensPerSecond))
        runs = baselines.count
        speedRatio = result.tokensPerSecond / tokensPerSecond
        let memory = baselines.compactMap(\.peakMebibytes)
        memoryRatio = memory.isEmpty ? nil : Double(result.peakResidentBytes) / 1_048_576 / median(memory)
    }
}
