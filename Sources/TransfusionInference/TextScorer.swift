internal import Foundation
internal import TransfusionCore
internal import TransfusionModels

/// How likely a model finds texts.
public final class TextScorer {
    /// Tokens that follow each other, of which the last ones are scored.
    public struct Item: Sendable, Equatable {
        public let tokens: [Int32]
        /// How many at the end; fewer than there are tokens, for the first follows from nothing.
        public let scored: Int

        public init(tokens: [Int32], scored: Int) {
            precondition(scored < tokens.count && scored >= 0)
            self.tokens = tokens
            self.scored = scored
        }

        /// Rows that the model computes.
        public var rows: Int { tokens.count - 1 }
    }

    private let model: TransfusionModel
    private let context: Context

    public init(_ model: LoadedModel) {
        self.model = model.generator.model
        context = model.generator.context
    }

    /// Σ ln p of the scored tokens of each item, each given those before it. The items do not see each other.
    public func logLikelihoods(_ items: [Item]) throws -> [Double] {
        var rows: [Int32] = [], starts: [Int32] = []
        for item in items {
            starts.append(Int32(rows.count))
            rows += item.tokens.dropLast()
        }
        guard !rows.isEmpty else { return items.map { _ in 0 } }
        let layout = try RowLayout(model.configuration, tokens: rows, documentStarts: starts)
        let hidden = try model.hiddenStates(layout, images: nil, context)
        return try zip(items, starts).map { item, start in
            let first = item.rows - item.scored
            return try logLikelihood(
                hidden, rows: (first..<item.rows).map { start + Int32($0) },
                targets: Array(item.tokens.suffix(item.scored)))
        }
    }

    /// Logits that are held at once.
    private static let logitLimit = 1 << 24

    private func logLikelihood(
        _ hidden: TransfusionModel.HiddenStates, rows: [Int32], targets: [Int32]
    ) throws -> Double {
        let vocabulary = model.configuration.vocabulary
        let chunk = max(1, Self.logitLimit / vocabulary)
        var sum = 0.0
        for first in stride(from: 0, to: rows.count, by: chunk) {
            let part = first..<min(rows.count, first + chunk)
            let logits = try model.logits(hidden, rows: Array(rows[part]), context)
            let values = logits.f32
            for (row, target) in part.enumerated() {
                let row = values[row * vocabulary..<(row + 1) * vocabulary]
                let largest = row.reduce(-Float.infinity) { max($0, $1) }
                let total = row.reduce(0.0) { $0 + exp(Double($1 - largest)) }
                sum += Double(row[row.startIndex + Int(targets[target])] - largest) - log(total)
            }
        }
        return sum
    }
}
