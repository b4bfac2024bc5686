/// What a group of ranks can do together.
///
/// Every call is made by all ranks of the group in the same order and blocks until its result is there. The group may
/// be processes under MPI, threads of one process (tests), or one rank alone.
///
/// `site` names the call for people: a hang is reported as rank, site and seconds.
public protocol Collectives: AnyObject {
    /// This rank's number in the group, `0..<size`.
    var rank: Int { get }
    /// How many ranks the group has.
    var size: Int { get }

    /// Replaces each rank's `values` by the element-wise sum over the ranks; all ranks get the same bits.
    func allReduceSum(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) throws
    /// Replaces each rank's `values` by the element-wise sum over the ranks; all ranks get the same bits.
    func allReduceSum(_ values: UnsafeMutableBufferPointer<Double>, site: StaticString) throws
    /// Replaces each rank's `values` by the element-wise maximum over the ranks.
    func allReduceMax(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) throws

    /// Sums `values` over the ranks and leaves rank r's part, `values[offsets[r]..<offsets[r + 1]]`, at that place.
    /// What the other parts hold afterwards is unspecified.
    func reduceScatterSum(_ values: UnsafeMutableBufferPointer<Float>, offsets: [Int], site: StaticString) throws
    /// Rank r brings `bytes[offsets[r]..<offsets[r + 1]]`; afterwards every rank has all of `bytes`.
    func allGather(_ bytes: UnsafeMutableRawBufferPointer, offsets: [Int], site: StaticString) throws

    /// Collects one message of each rank, in rank order, at `root`; the others get an empty array.
    func gather(_ message: [UInt8], root: Int, site: StaticString) throws -> [[UInt8]]
    /// Gives every rank the message of `root`.
    func broadcast(_ message: [UInt8], root: Int, site: StaticString) throws -> [UInt8]
    /// Returns when every rank has called it.
    func barrier(site: StaticString) throws
}

extension Collectives {
    /// Sums a few numbers over the ranks.
    public func sum(_ values: [Double], site: StaticString) throws -> [Double] {
        var values = values
        try values.withUnsafeMutableBufferPointer { try allReduceSum($0, site: site) }
        return values
    }

    /// Gives every rank the messages of all, in rank order.
    public func allGather(_ message: [UInt8], site: StaticString) throws -> [[UInt8]] {
        let messages = try gather(message, root: 0, site: site)
        var packed: [UInt8] = []
        for message in messages {
            withUnsafeBytes(of: UInt32(message.count).littleEndian) { packed += $0 }
            packed += message
        }
        packed = try broadcast(packed, root: 0, site: site)
        var result: [[UInt8]] = []
        var start = 0
        while start < packed.count {
            let length = packed[start..<start + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
            result.append(Array(packed[start + 4..<start + 4 + length]))
            start += 4 + length
        }
        return result
    }

    /// Gives every rank the numbers of all parts of all ranks, in the order of the ranks. All parts are of one length, and every
    /// rank has one at least.
    package func allGather(_ parts: [[Double]], site: StaticString) throws -> [[Double]] {
        guard size > 1, let length = parts.first?.count else { return parts }
        let messages = try allGather(parts.flatMap { $0 }.withUnsafeBytes(Array.init), site: site)
        return messages.flatMap { message in
            let numbers = message.withUnsafeBytes { Array($0.bindMemory(to: Double.self)) }
            return stride(from: 0, to: numbers.count, by: length).map { Array(numbers[$0..<$0 + length]) }
        }
    }

    /// Whether any rank says yes.
    public func any(_ flag: Bool, site: StaticString) throws -> Bool {
        try sum([flag ? 1 : 0], site: site)[0] > 0
    }
}

/// The group of one: every collective is free.
public final class SingleRank: Collectives {
    public let rank = 0
    public let size = 1

    public init() {}

    public func allReduceSum(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) {}
    public func allReduceSum(_ values: UnsafeMutableBufferPointer<Double>, site: StaticString) {}
    public func allReduceMax(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) {}
    public func reduceScatterSum(
        _ values: UnsafeMutableBufferPointer<Float>, offsets: [Int], site: StaticString
    ) {}
    public func allGather(_ bytes: UnsafeMutableRawBufferPointer, offsets: [Int], site: StaticString) {}
    public func gather(_ message: [UInt8], root: Int, site: StaticString) -> [[UInt8]] { [message] }
    public func broadcast(_ message: [UInt8], root: Int, site: StaticString) -> [UInt8] { message }
    public func barrier(site: StaticString) {}
}
