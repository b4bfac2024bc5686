internal import Foundation
internal import TransfusionCore
internal import TransfusionModels

/// How the pictures of a step use the codes of a codebook.
final class CodeUse {
    /// How often each code was taken by this rank.
    private var counts: [Double]

    static let used = "codes_used"
    static let perplexity = "code_perplexity"

    init(codes: Int) {
        counts = [Double](repeating: 0, count: codes)
    }

    func count(_ codes: Tensor) {
        for code in codes.i32 { counts[Int(code)] += 1 }
    }

    /// What the ranks have counted together since the last time: the share of the codes that were used at all, and of how many
    /// codes, used alike, the entropy would be the same.
    func take(_ group: any Collectives) throws -> [NamedSum] {
        let all = try group.sum(counts, site: "use of the codes")
        counts = [Double](repeating: 0, count: counts.count)
        let total = max(1, all.reduce(0, +))
        let entropy = all.reduce(0.0) { $1 > 0 ? $0 - $1 / total * log($1 / total) : $0 }
        return [
            NamedSum(name: Self.used, sum: Double(all.count { $0 > 0 }) / Double(all.count), count: 1, weight: 0),
            NamedSum(name: Self.perplexity, sum: exp(entropy), count: 1, weight: 0),
        ]
    }
}
