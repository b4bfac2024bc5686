internal import TransfusionModels

/// A step of all ranks.
package struct StepSummary: Sendable {
    /// From 0.
    let step: Int
    /// What its global batch held.
    package let counts: BatchCounts
    /// Of all players that were trained, over the whole global batch.
    private(set) var losses: [NamedSum] = []
    /// Of all of them together, before clipping.
    private(set) var gradientNorm = 0.0
    /// Of the first of them.
    private(set) var learningRate = 0.0
    /// Floating-point operations of the models, over all ranks.
    package private(set) var operations = 0.0

    init(step: Int, counts: BatchCounts) {
        self.step = step
        self.counts = counts
    }

    mutating func add(_ losses: [NamedSum], gradientNorm: Double, learningRate: Double, operations: Double) {
        if self.losses.isEmpty {
            (self.gradientNorm, self.learningRate) = (gradientNorm, learningRate)
        } else {
            self.gradientNorm = (self.gradientNorm * self.gradientNorm + gradientNorm * gradientNorm).squareRoot()
        }
        self.losses += losses
        self.operations += operations
    }
}
