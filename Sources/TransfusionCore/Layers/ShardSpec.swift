/// How a parameter lies on the ranks of a tensor-parallel group: whole on each, or split along one axis.
///
/// Initialisation, the gradient norm, the optimizer, checkpoints and conversion read this; nothing else stores it.
public struct ShardSpec: Sendable, Equatable {
    /// The axis that is split, or nil when every rank holds the whole parameter.
    public let axis: Int?
    /// Which part this rank holds.
    public let index: Int
    /// How many parts there are.
    public let count: Int

    public static let replicated = ShardSpec(axis: nil, index: 0, count: 1)

    public init(axis: Int?, index: Int, count: Int) {
        self.axis = axis
        self.index = index
        self.count = count
    }

    /// Where this rank's part lies in a tensor of the given global shape: the first index and the length on each axis.
    /// Parts differ by at most one when the axis does not divide.
    public func box(in globalShape: [Int]) -> (offsets: [Int], sizes: [Int]) {
        var offsets = [Int](repeating: 0, count: globalShape.count)
        var sizes = globalShape
        if let axis {
            let start = globalShape[axis] * index / count
            offsets[axis] = start
            sizes[axis] = globalShape[axis] * (index + 1) / count - start
        }
        return (offsets, sizes)
    }
}
