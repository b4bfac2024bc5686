/// The rows of one forward pass as attention sees them: where each stands, and which keys it may see.
public struct AttentionRows {
    let positions: Tensor  // [rows], i32
    let spans: VisibleSpans
    /// One past the largest position.
    let positionCount: Int
    /// With a cache, intervals count the cache's slots, and row i is kept in slot `slots[i]`.
    let cache: KeyValueCache?
    let slots: [Int32]

    public var count: Int { positions.count }

    /// The rows of a packed batch: the keys are the rows themselves.
    public init(_ layout: RowLayout, _ context: Context) {
        self.init(
            positions: layout.positions, visibleStart: layout.visibleStart, visibleEnd: layout.visibleEnd, cache: nil,
            slots: [], context)
    }

    /// Rows whose keys and values are kept in a cache, together with those that are there already.
    ///
    /// - Parameters:
    ///   - visibleStart: The first slot that each row sees.
    ///   - visibleEnd: One past the last slot that each row sees.
    ///   - slots: Where each row's key and value go.
    public init(
        positions: [Int32], visibleStart: [Int32], visibleEnd: [Int32], cache: KeyValueCache?, slots: [Int32],
        _ context: Context
    ) {
        precondition(slots.allSatisfy { cache != nil && $0 >= 0 && $0 < cache!.capacity })
        self.positions = context.integers(positions)
        spans = VisibleSpans(start: visibleStart, end: visibleEnd)
        positionCount = Int(positions.max() ?? -1) + 1
        self.cache = cache
        self.slots = slots
    }
}

/// The keys (rotated) and values of rows that later rows will see, for each layer.
///
/// Slots are one index space for any number of sequences: each sequence uses a region of its own, and the intervals of
/// its rows stay inside that region.
public final class KeyValueCache {
    struct Layer {
        let keys: Tensor  // [capacity, width of this rank's heads]
        let values: Tensor  // [capacity, width of this rank's heads]
    }

    public let capacity: Int
    let layers: [Layer]

    /// - Parameter capacity: How many rows fit, over all sequences.
    public init(_ configuration: ModelConfiguration, capacity: Int, _ context: Context) {
        self.capacity = capacity
        let width = configuration.width / context.tensorParallel.size
        layers = (0..<configuration.layers).map { _ in
            let layer = Layer(
                keys: context.empty([capacity, width]),
                values: context.empty([capacity, width]))
            // A tile of the attention may hold slots that no row sees: a zero weight times NaN would be NaN.
            layer.keys.fill(0)
            layer.values.fill(0)
            return layer
        }
    }
}
