/// How many floating-point operations a training step needs, for the utilisation and for planning.
///
/// Matrix products only, a multiply-add as two: 6 for each weight that meets a row (forward 2, backward 4), and 12 for
/// each element of width, layer and visible pair of rows in attention. Embedding lookups multiply nothing, and the head
/// meets only the rows with a target. Recomputed work does not count: it brings nothing (docs/performance.md).
public struct FloatingPointWork: Sendable {
    private let perRow: Double
    private let perTarget: Double
    private let perPatch: Double
    private let perVisiblePair: Double

    public init(_ model: ModelConfiguration) {
        let width = Double(model.width)
        perRow = 6 * Double(model.layers) * (4 * width * width + 3 * width * Double(model.feedForward))
        perTarget = 6 * width * Double(model.vocabulary)
        perPatch = 12 * width * Double(model.patchWidth)
        perVisiblePair = 12 * width * Double(model.layers)
    }

    /// What the operations of some rows depend on.
    public struct Rows: Sendable, Equatable, Codable {
        /// Tokens and patches.
        public var count: Double
        /// Rows with a text target.
        public var targets: Double
        public var patches: Double
        /// Over all rows, how many rows each sees.
        public var visiblePairs: Double

        public init(count: Double, targets: Double, patches: Double, visiblePairs: Double) {
            self.count = count
            self.targets = targets
            self.patches = patches
            self.visiblePairs = visiblePairs
        }

        public init(_ layout: RowLayout) {
            let visible = zip(layout.visibleStart, layout.visibleEnd).reduce(0) { $0 + Int($1.1 - $1.0) }
            self.init(
                count: Double(layout.count), targets: Double(layout.targetCount),
                patches: Double(layout.imageCount * layout.patchesPerImage), visiblePairs: Double(visible))
        }

        /// The average over packed sequences, each taken for one document: shorter documents see less.
        ///
        /// - Parameter textToImageRatio: Text tokens for each image patch.
        public init(
            _ model: ModelConfiguration, sequences: Int, sequenceLength: Int, textToImageRatio: Double
        ) {
            let length = Double(sequenceLength)
            count = Double(sequences) * length
            patches = count / (1 + textToImageRatio)
            targets = count - patches
            // A row sees itself and what is before it, a patch also the rest of its image.
            visiblePairs = count * (length + 1) / 2 + patches * Double(model.patchesPerImage - 1) / 2
        }
    }

    /// The operations of one micro-batch.
    public func operations(_ layout: RowLayout) -> Double { operations(Rows(layout)) }

    /// Forward and backward, without what is computed again.
    public func operations(_ rows: Rows) -> Double {
        rows.count * perRow + rows.targets * perTarget + rows.patches * perPatch + rows.visiblePairs * perVisiblePair
    }

    /// What is computed again in the backward pass: a forward pass of attention, or of whole blocks.
    public func recomputedOperations(_ rows: Rows, _ recomputation: TransfusionModel.Recomputation) -> Double {
        switch recomputation {
        case .none: 0
        case .selective: rows.visiblePairs * perVisiblePair / 3
        case .full: (rows.count * perRow + rows.visiblePairs * perVisiblePair) / 3
        }
    }
}
