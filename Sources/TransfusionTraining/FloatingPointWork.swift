internal import TransfusionCore

/// How many floating-point operations a training step needs, for the utilisation.
///
/// Matrix products only, a multiply-add as two: 6 for each weight that meets a row (forward 2, backward 4), and 12 for
/// each element of width, layer and visible pair of rows in attention. Embedding lookups multiply nothing, and the head
/// meets only the rows with a target. Recomputed work does not count: it brings nothing (docs/performance.md).
struct FloatingPointWork {
    private let perRow: Double
    private let perTarget: Double
    private let perPatch: Double
    private let perVisiblePair: Double

    init(_ model: ModelConfiguration) {
        let width = Double(model.width)
        perRow = 6 * Double(model.layers) * (4 * width * width + 3 * width * Double(model.feedForward))
        perTarget = 6 * width * Double(model.vocabulary)
        perPatch = 12 * width * Double(model.patchWidth)
        perVisiblePair = 12 * width * Double(model.layers)
    }

    /// The operations of one micro-batch.
    func operations(_ layout: RowLayout) -> Double {
        let visible = zip(layout.visibleStart, layout.visibleEnd).reduce(0) { $0 + Int($1.1 - $1.0) }
        return Double(layout.count) * perRow + Double(layout.targetCount) * perTarget
            + Double(layout.imageCount * layout.patchesPerImage) * perPatch + Double(visible) * perVisiblePair
    }
}
