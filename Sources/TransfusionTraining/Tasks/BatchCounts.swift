internal import TransfusionModels

/// What the whole global batch of a step holds.
package struct BatchCounts: Sendable, Equatable {
    /// What the parts of the loss are divided by, by their names.
    var denominators: [String: Int] = [:]
    /// Tokens trained on, patches included and padding not.
    package var tokens = 0
    package var images = 0
    /// Of the tokens, those that stand for parts of images.
    var patches = 0
    /// Places for tokens, padding included.
    var rows = 0
    /// What a person should know of the batch, a line each.
    var warnings: [String] = []

    /// The sum of a part of the loss, with what it is divided by.
    func part(_ name: String, _ sum: Double, weight: Double = 1) -> NamedSum {
        NamedSum(name: name, sum: sum, count: denominators[name] ?? 0, weight: weight)
    }

    /// Takes what was trained on in another step.
    mutating func add(_ other: BatchCounts) {
        denominators.merge(other.denominators, uniquingKeysWith: +)
        tokens += other.tokens
        images += other.images
        patches += other.patches
        rows += other.rows
    }
}
