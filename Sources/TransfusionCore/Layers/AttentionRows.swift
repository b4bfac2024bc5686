/// The rows of one forward pass as attention sees them: where each stands, and which keys it may see.
public struct AttentionRows {
    let positions: Tensor  // [rows], i32
    let spans: VisibleSpans
    /// One past the largest position.
    let positionCount: Int
    /// With a cache, intervals count the cache's slots, and row i is kept in slot `slots[i]`.
    package let cache: KeyValueCache?
    let slots: [Int32]

    public var count: Int { positions.count }

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
