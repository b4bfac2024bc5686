internal import Foundation
public import TransfusionCore

/// How the next token is chosen from the model's probabilities.
public struct TextSettings: Sendable, Equatable {
    /// How many tokens are written at most.
    public var maximumTokens = 128
    /// What the logits are divided by; 0 takes the likeliest token (greedy).
    public var temperature = 0.0
    /// The likeliest tokens that together have this probability are considered; 1 considers all.
    public var topP = 1.0
    /// This many of the likeliest tokens are considered; 0 considers all.
    public var topK = 0
    /// Tokens less probable than this share of the likeliest one's probability are not considered; 0 considers all.
    public var minP = 0.0
    /// What makes tokens less likely that occur in the sequence already; 1 changes nothing.
    public var repetitionPenalty = 1.0
    /// Texts that end a text before the first of them.
    public var stops: [String] = []

    public init() {}

    /// Stop texts, and bytes of one, at most.
    private static let mostStops = 64, longestStop = 1024

    /// As many as the longest sequence that can be trained on has rows.
    public static let mostTokens = 1 << 20

    /// What is wrong with the values, by its name; nil when nothing is.
    public var problem: SettingError? {
        if !(1...Self.mostTokens).contains(maximumTokens) {
            return SettingError("max-tokens", "must lie between 1 and \(Self.mostTokens), not \(maximumTokens)")
        }
        if !(temperature >= 0 && temperature <= 100) {
            return SettingError("temperature", "must lie between 0 and 100, not \(temperature)")
        }
        if !(topP > 0 && topP <= 1) { return SettingError("top-p", "must be above 0 and at most 1, not \(topP)") }
        if topK < 0 { return SettingError("top-k", "must be 0 (all) or more, not \(topK)") }
        if !(minP >= 0 && minP <= 1) { return SettingError("min-p", "must lie between 0 (all) and 1, not \(minP)") }
        if !(repetitionPenalty > 0 && repetitionPenalty <= 100) {
            return SettingError("repetition-penalty", "must be above 0 and at most 100, not \(repetitionPenalty)")
        }
        if stops.count > Self.mostStops {
            return SettingError("stop", "is given \(stops.count) times; give it at most \(Self.mostStops) times")
        }
        if stops.contains(where: { $0.isEmpty || $0.utf8.count > Self.longestStop }) {
            return SettingError("stop", "must have 1 to \(Self.longestStop) bytes")
        }
        return nil
    }
}

/// Chooses tokens from logits. The choice at a position depends on (seed, position) and the logits only.
struct TokenSampler {
    private let settings: TextSettings
    private let random: Philox

    init(_ settings: TextSettings, seed: UInt64) {
        self.init(settings, Philox(seed: seed, purpose: .textSampling))
    }

    init(_ settings: TextSettings, _ random: Philox) {
        self.settings = settings
        self.random = random
    }

    /// - Parameters:
    ///   - logits: `[vocabulary]`.
    ///   - position: The position of the new token in its sequence.
    ///   - earlier: The tokens that occur in the sequence.
    ///   - isAllowed: Which tokens may be chosen; at least one.
    func choose(
        from logits: [Float], at position: Int, after earlier: Set<Int32> = [], where isAllowed: (Int32) -> Bool
    ) -> Int32 {
        let logits = penalized(logits, earlier)
        guard settings.temperature > 0 else {
            // The first of equals is what other implementations take.
            var best: Int32?, highest = -Float.infinity
            for (token, logit) in logits.enumerated() where best == nil || logit > highest {
                guard isAllowed(Int32(token)) else { continue }
                best = Int32(token)
                highest = logit
            }
            return best!
        }
        let candidates = logits.indices.filter { isAllowed(Int32($0)) }
        // Ties are broken by the token's number, so that the order is one and the same everywhere.
        var ranked = candidates.sorted { (logits[$0], $1) > (logits[$1], $0) }
        if settings.topK > 0 { ranked = Array(ranked.prefix(settings.topK)) }
        let highest = Double(logits[ranked[0]])
        let weights = ranked.map { exp((Double(logits[$0]) - highest) / settings.temperature) }
        let likely = weights.prefix { $0 >= settings.minP * weights[0] }.count
        let considered = min(likely, Self.nucleus(weights, share: settings.topP))
        var rest = random.uniform(at: position) * weights[..<considered].reduce(0, +)
        for index in 0..<considered {
            rest -= weights[index]
            if rest < 0 { return Int32(ranked[index]) }
        }
        return Int32(ranked[considered - 1])
    }

    /// Logits in which tokens that occur already are less likely.
    ///
    /// ### References
    /// Keskar et al. 2019, "CTRL", section 4.1; negative logits are multiplied, as transformers does.
    private func penalized(_ logits: [Float], _ earlier: Set<Int32>) -> [Float] {
        guard settings.repetitionPenalty != 1 else { return logits }
        var logits = logits
        let penalty = Float(settings.repetitionPenalty)
        for token in earlier where logits.indices.contains(Int(token)) {
            let logit = logits[Int(token)]
            logits[Int(token)] = logit > 0 ? logit / penalty : logit * penalty
        }
        return logits
    }

    /// How many of the falling weights are needed to make up `share` of their sum.
    ///
    /// ### References
    /// Holtzman et al. 2020, "The curious case of neural text degeneration", equation 2.
    private static func nucleus(_ weights: [Double], share: Double) -> Int {
        let needed = share * weights.reduce(0, +)
        var sum = 0.0
        for (index, weight) in weights.enumerated() {
            sum += weight
            if sum >= needed { return index + 1 }
        }
        return weights.count
    }
}
