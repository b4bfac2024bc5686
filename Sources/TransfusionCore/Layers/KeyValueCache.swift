/// The keys (rotated) and values of rows that later rows will see, for each layer.
///
/// Slots are one index space for any number of sequences: each sequence uses a region of its own, and the intervals of
/// its rows stay inside that region.
public final class KeyValueCache {
    package struct Layer {
        let keys: Tensor  // [capacity, width of this rank's key heads]
        let values: Tensor  // [capacity, width of this rank's key heads]
    }

    public let capacity: Int
    package let layers: [Layer]

    /// - Parameters:
    ///   - width: That of the keys of this rank's key heads together, and of the values.
    ///   - capacity: How many rows fit, over all sequences.
    public init(layers: Int, width: Int, capacity: Int, _ context: Context) {
        self.capacity = capacity
        self.layers = (0..<layers).map { _ in
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
