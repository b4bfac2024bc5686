internal import Foundation
internal import TransfusionModels

/// How the pictures of a step use the codes of a codebook.
struct CodeUse {
    /// How often each code was taken, over the whole global batch.
    let counts: [Double]

    var total: Double { counts.reduce(0, +) }

    /// The share of the codes that were used at all, and of how many codes, used alike, the entropy would be the same.
    var measures: [NamedSum] {
        let total = max(1, total)
        let entropy = counts.reduce(0.0) { $1 > 0 ? $0 - $1 / total * log($1 / total) : $0 }
        return [
            NamedSum(
                name: "codes_used", sum: Double(counts.count { $0 > 0 }) / Double(counts.count), count: 1, weight: 0),
            NamedSum(name: "code_perplexity", sum: exp(entropy), count: 1, weight: 0),
        ]
    }
}
