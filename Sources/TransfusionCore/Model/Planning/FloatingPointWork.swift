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

    /// The operations of one micro-batch.
    public func operations(_ layout: RowLayout) -> Double {
        let visible = zip(layout.visibleStart, layout.visibleEnd).reduce(0) { $0 + Int($1.1 - $1.0) }
        return operations(
            rows: Double(layout.count), targets: Double(layout.targetCount),
            patches: Double(layout.imageCount * layout.patchesPerImage), visiblePairs: Double(visible))
    }

    /// The operations of rows of which so many have a text target or are patches, and which see so many rows together.
    public func operations(rows: Double, targets: Double, patches: Double, visiblePairs: Double) -> Double {
        rows * perRow + targets * perTarget + patches * perPatch + visiblePairs * perVisiblePair
    }
}
