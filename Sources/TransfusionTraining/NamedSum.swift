/// A part of a task's loss: a sum over those things of a global batch that have such a loss.
struct NamedSum: Sendable, Equatable {
    /// As in `loss_NAME` of metrics.jsonl.
    let name: String
    /// Over a micro-batch, a rank, or the whole global batch.
    var sum: Double
    /// How many things of the whole global batch have this loss.
    var count: Int
    /// Of the mean in the total.
    let weight: Double

    var mean: Double { sum / Double(max(1, count)) }
}

extension [NamedSum] {
    /// The weighted sum of the means.
    var loss: Double { reduce(0) { $0 + $1.weight * $1.mean } }

    /// The means by name.
    var means: [String: Double] { reduce(into: [:]) { $0[$1.name] = $1.mean } }
}
