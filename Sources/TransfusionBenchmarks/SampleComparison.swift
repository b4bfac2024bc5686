/// Sampling beside another program's; ratios above 1 are faster.
public struct SampleComparison: Sendable, Encodable {
    public let textTokensPerSecond: Double
    public let secondsPerDenoisingStep: Double
    public let runs: Int
    public let textRatio: Double
    public let denoisingRatio: Double

    /// What the other program says of itself.
    public struct Baseline: Sendable, Decodable {
        let textTokensPerSecond: Double
        let secondsPerDenoisingStep: Double

        private enum CodingKeys: String, CodingKey {
            case textTokensPerSecond = "text_tokens_per_s"
            case secondsPerDenoisingStep = "seconds_per_denoising_step"
        }
    }

    /// - Returns: Nil without runs of another program.
    public init?(_ result: SampleBenchmark.Result, _ baselines: [Baseline]) {
        guard !baselines.isEmpty else { return nil }
        textTokensPerSecond = median(baselines.map(\.textTokensPerSecond))
        secondsPerDenoisingStep = median(baselines.map(\.secondsPerDenoisingStep))
        runs = baselines.count
        textRatio = result.textTokensPerSecond / textTokensPerSecond
        denoisingRatio = secondsPerDenoisingStep / result.secondsPerDenoisingStep
    }
}
