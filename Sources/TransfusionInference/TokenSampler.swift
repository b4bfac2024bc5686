internal import Foundation
internal import TransfusionCore

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

    public init() {}

    /// As many as the longest sequence that can be trained on has rows.
    public static let mostTokens = 1 << 20

    /// What is wrong with the values, in words that name the option; nil when nothing is.
    public var problem: String? {
        if !(1...Self.mostTokens).contains(maximumTokens) {
            return "--max-tokens must lie between 1 and \(Self.mostTokens), not \(maximumTokens)"
        }
        if !(temperature >= 0 && temperature <= 100) {
            return "--temperature must lie between 0 and 100, not \(temperature)"
        }
        if !(topP > 0 && topP <= 1) { return "--top-p must be above 0 and at most 1, not \(topP)" }
        if topK < 0 { return "--top-k must be 0 (all) or more, not \(topK)" }
        return nil
    }
}

/// Chooses tokens from logits. The choice at a position depends on (seed, position) and the logits only.
struct TokenSampler {
    private let settings: TextSettings
    private let random: Philox

    init(_ settings: TextSettings, seed: UInt64) {
        self.settings = settings
        random = Philox(seed: seed, purpose: .textSampling)
    }

    /// - Parameters:
    ///   - logits: `[vocabulary]`.
    ///   - position: The position of the new token in its sequence.
    ///   - isAllowed: Which tokens may be chosen; at least one.
    func choose(from logits: [Float], at position: Int, where isAllowed: (Int32) -> Bool) -> Int32 {
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
        let considered = Self.nucleus(weights, share: settings.topP)
        var rest = random.uniform(at: position) * weights[..<considered].reduce(0, +)
        for index in 0..<considered {
            rest -= weights[index]
            if rest < 0 { return Int32(ranked[index]) }
        }
        return Int32(ranked[considered - 1])
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
