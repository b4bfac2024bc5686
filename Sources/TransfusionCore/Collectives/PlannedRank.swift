/// One rank of a group that exists on paper: nothing is exchanged, and what would be is counted.
public final class PlannedRank: Collectives {
    public let rank: Int
    public let size: Int
    /// Bytes that the rank has passed to the group so far. A sum over all ranks is a reduce-scatter and an all-gather.
    public private(set) var exchangedBytes = 0.0

    public init(rank: Int, of size: Int) {
        self.rank = rank
        self.size = size
    }

    public func allReduceSum(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) {
        exchangedBytes += 8 * Double(values.count)
    }

    public func allReduceSum(_ values: UnsafeMutableBufferPointer<Double>, site: StaticString) {
        exchangedBytes += 16 * Double(values.count)
    }

    public func allReduceMax(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) {
        exchangedBytes += 8 * Double(values.count)
    }

    public func reduceScatterSum(
        _ values: UnsafeMutableBufferPointer<Float>, offsets: [Int], site: StaticString
    ) {
        exchangedBytes += 4 * Double(values.count)
    }

    public func allGather(_ bytes: UnsafeMutableRawBufferPointer, offsets: [Int], site: StaticString) {
        exchangedBytes += Double(bytes.count)
    }

    public func gather(_ message: [UInt8], root: Int, site: StaticString) -> [[UInt8]] {
        Array(repeating: message, count: size)
    }

    public func broadcast(_ message: [UInt8], root: Int, site: StaticString) -> [UInt8] { message }
    public func barrier(site: StaticString) {}
}
