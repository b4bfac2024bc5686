public import TransfusionCore

extension AttentionRows {
    /// The rows of a packed batch: the keys are the rows themselves.
    public init(_ layout: RowLayout, _ context: Context) {
        self.init(
            positions: layout.positions, visibleStart: layout.visibleStart, visibleEnd: layout.visibleEnd, cache: nil,
            slots: [], context)
    }
}

extension KeyValueCache {
    /// - Parameter capacity: How many rows fit, over all sequences.
    public convenience init(_ configuration: ModelConfiguration, capacity: Int, _ context: Context) {
        self.init(
            layers: configuration.layers,
            width: configuration.keyValueHeads(ofRanks: context.tensorParallel.size) * configuration.headWidth,
            capacity: capacity, context)
    }
}
