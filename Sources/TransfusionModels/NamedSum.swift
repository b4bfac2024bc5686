/// A part of a loss: a sum over those things of a global batch that have such a loss.
public struct NamedSum: Sendable, Equatable {
    /// As in `loss_NAME` of metrics and reports.
    public let name: String
    /// Over a micro-batch, a rank, or the whole global batch.
    public var sum: Double
    /// How many things of the whole global batch have this loss.
    public var count: Int
    /// Of the mean in the total.
    public let weight: Double

    public init(name: String, sum: Double, count: Int, weight: Double) {
        self.name = name
        self.sum = sum
        self.count = count
        self.weight = weight
    }

    public var mean: Double { sum / Double(max(1, count)) }
}

extension [NamedSum] {
    /// The weighted sum of the means.
    public var loss: Double { reduce(0) { $0 + $1.weight * $1.mean } }

    /// The means by name.
    public var means: [String: Double] { reduce(into: [:]) { $0[$1.name] = $1.mean } }
}
