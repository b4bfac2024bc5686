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
    /// How many ranks hold the same part, where there are fewer parts than ranks. Each of them finds a part of its gradient.
    public let replicas: Int
    /// Which of these this rank is.
    public let replica: Int

    public static let replicated = ShardSpec(axis: nil, index: 0, count: 1)

    public init(axis: Int?, index: Int, count: Int, replica: Int = 0, replicas: Int = 1) {
        self.axis = axis
        self.index = index
        self.count = count
        self.replica = replica
        self.replicas = replicas
    }

    /// The part of a rank of a group that splits an axis into at most so many parts.
    init(axis: Int, rank: Int, of ranks: Int, parts: Int) {
        let count = min(parts, ranks), replicas = ranks / count
        precondition(ranks % count == 0, "\(ranks) ranks do not hold \(parts) parts evenly")
        self.init(axis: axis, index: rank / replicas, count: count, replica: rank % replicas, replicas: replicas)
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
