/// Training steps beside another program's: above 1 is faster, below 1 less memory.
public struct StepComparison: Sendable, Codable {
    /// Nil when the other program counts images alone.
    public let tokensPerSecond: Double?
    public let imagesPerSecond: Double?
    public let runs: Int
    public let speedRatio: Double
    public let memoryRatio: Double?

    /// What the other program says of itself.
    public struct Baseline: Sendable, Decodable {
        let tokensPerSecond: Double?
        let imagesPerSecond: Double?
        let peakMebibytes: Double?

        public init(from decoder: any Decoder) throws {
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            tokensPerSecond = try fields.decodeIfPresent(Double.self, forKey: .tokensPerSecond)
            imagesPerSecond = try fields.decodeIfPresent(Double.self, forKey: .imagesPerSecond)
            peakMebibytes = try fields.decodeIfPresent(Double.self, forKey: .peakMebibytes)
            guard tokensPerSecond != nil || imagesPerSecond != nil else {
                throw DecodingError.keyNotFound(
                    CodingKeys.tokensPerSecond, .init(codingPath: fields.codingPath, debugDescription: "no rate"))
            }
        }

        private enum CodingKeys: String, CodingKey {
            case tokensPerSecond = "tokens_per_s"
            case imagesPerSecond = "images_per_s"
            case peakMebibytes = "peak_rss_mib"
        }
    }

    /// - Returns: Nil without runs of another program that tells a rate.
    public init?(_ result: StepBenchmark.Result, _ baselines: [Baseline]) {
        let tokens = baselines.compactMap(\.tokensPerSecond), images = baselines.compactMap(\.imagesPerSecond)
        guard let rates = [tokens, images].first(where: { !$0.isEmpty }) else { return nil }
        tokensPerSecond = tokens.isEmpty ? nil : median(tokens)
        imagesPerSecond = images.isEmpty ? nil : median(images)
        runs = rates.count
        speedRatio = (tokens.isEmpty ? result.imagesPerSecond : result.tokensPerSecond) / median(rates)
        let memory = baselines.compactMap(\.peakMebibytes)
        memoryRatio = memory.isEmpty ? nil : Double(result.peakResidentBytes) / 1_048_576 / median(memory)
    }
}
