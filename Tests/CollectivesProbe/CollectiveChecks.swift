import TransfusionCore
package import TransfusionParallel

/// Every collective operation against a plain computation of the same thing, bit for bit.
///
/// The ranks of a group run it together, as threads or as processes. All values are functions of rank and index, so
/// each rank knows what the others bring.
package struct CollectiveChecks {
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private static let longest = 300_007

    let group: any Communicator
    /// This rank's values, and the right sums of all ranks' values.
    private let own: [Float]
    private let sums: [Float]
    private var passed = 0

    /// Runs all checks and returns how many there were.
    package static func run(_ group: any Communicator) throws -> Int {
        var checks = CollectiveChecks(group: group)
        for count in [0, 1, 2, 3, 17, 1000, 4097, 30_011, longest] {
            try checks.allReduce(count)
        }
        try checks.doublesAndMaxima()
        for count in [0, 1, 5, 1000, 4099, longest] {
            for offsets in checks.partitions(of: count) {
                try checks.reduceScatter(count, offsets)
                try checks.allGather(count, offsets)
            }
        }
        try checks.messages()
        try checks.sharedMemory()
        try checks.groups()
        return checks.passed
    }

    private init(group: any Communicator) {
        self.group = group
        own = Self.values(group.rank)
        sums = Self.treeSum(0..<group.size)
    }

    private static func values(_ rank: Int) -> [Float] {
        [Float](unsafeUninitializedCapacity: longest) { values, count in
            for index in 0..<longest { values[index] = value(rank, index) }
            count = longest
        }
    }

    private static func value(_ rank: Int, _ index: Int) -> Float {
        let mixed = UInt32(truncatingIfNeeded: (index &* 7 &+ rank &+ 1) &* 2_654_435_761)
        return Float(Int32(bitPattern: mixed) >> 8) * 1e-3
    }

    /// The sum over the ranks as a binary tree that is complete on its left.
    private static func treeSum(_ ranks: Range<Int>) -> [Float] {
        guard ranks.count > 1 else { return values(ranks.lowerBound) }
        var half = 1
        while half * 2 < ranks.count { half *= 2 }
        let middle = ranks.lowerBound + half
        let left = treeSum(ranks.lowerBound..<middle)
        let right = treeSum(middle..<ranks.upperBound)
        return [Float](unsafeUninitializedCapacity: longest) { sums, count in
            for index in 0..<longest { sums[index] = left[index] + right[index] }
            count = longest
        }
    }

    /// The first index in `range` where `values` are not the sums over all ranks.
    private func firstWrong(_ values: UnsafeMutableBufferPointer<Float>, in range: Range<Int>) -> Int? {
        range.first { values[$0] != sums[$0] }
    }

    /// Offsets of even and uneven parts, empty parts among them.
    private func partitions(of count: Int) -> [[Int]] {
        let size = group.size
        let even = (0...size).map { count * $0 / size }
        let firstOnly = [0] + [Int](repeating: count, count: size)
        let growing = (0...size).map { count * $0 * $0 / (size * size) }
        return [even, firstOnly, growing]
    }

    private mutating func expect(_ holds: Bool, _ what: @autoclosure () -> String) throws {
        guard holds else { throw Failure(description: "rank \(group.rank) of \(group.size): \(what())") }
        passed += 1
    }

    private mutating func allReduce(_ count: Int) throws {
        var sum = Array(own[..<count])
        let wrong = try sum.withUnsafeMutableBufferPointer {
            try group.allReduceSum($0, site: "check sums")
            return firstWrong($0, in: 0..<count)
        }
        try expect(wrong == nil, "all-reduce of \(count) differs at \(wrong ?? 0)")
    }

    private mutating func doublesAndMaxima() throws {
        for count in [1, 9001] {
            var sum = own[..<count].map { Double($0) }
            try sum.withUnsafeMutableBufferPointer { try group.allReduceSum($0, site: "check doubles") }
            // These doubles have 24 bits each, so their sum is exact in any order.
            let right = sum.indices.allSatisfy { index in
                sum[index] == (0..<group.size).reduce(0) { $0 + Double(Self.value($1, index)) }
            }
            try expect(right, "all-reduce of \(count) doubles")

            var largest = Array(own[..<count])
            if group.rank == group.size - 1 { largest[count - 1] = .nan }
            try largest.withUnsafeMutableBufferPointer { try group.allReduceMax($0, site: "check maxima") }
            let highest = (0..<count - 1).allSatisfy { index in
                largest[index] == (0..<group.size).map { Self.value($0, index) }.max()
            }
            try expect(highest && largest[count - 1].isNaN, "maximum of \(count), with a NaN at its end")
        }
    }

    private mutating func reduceScatter(_ count: Int, _ offsets: [Int]) throws {
        var sum = Array(own[..<count])
        let wrong = try sum.withUnsafeMutableBufferPointer {
            try group.reduceScatterSum($0, offsets: offsets, site: "check reduce-scatter")
            return firstWrong($0, in: offsets[group.rank]..<offsets[group.rank + 1])
        }
        try expect(wrong == nil, "reduce-scatter of \(count) at \(offsets) differs at \(wrong ?? 0)")
    }

    private mutating func allGather(_ count: Int, _ offsets: [Int]) throws {
        let piece = offsets[group.rank]..<offsets[group.rank + 1]
        var bytes = (0..<count).map { piece.contains($0) ? UInt8($0 * 13 & 255) : 0 }
        try bytes.withUnsafeMutableBytes { try group.allGather($0, offsets: offsets, site: "check all-gather") }
        let wrong = bytes.indices.first { bytes[$0] != UInt8($0 * 13 & 255) }
        try expect(wrong == nil, "all-gather of \(count) at \(offsets) differs at \(wrong ?? 0)")
    }

    private mutating func messages() throws {
        let root = group.size - 1
        let message = [UInt8](repeating: UInt8(group.rank + 1), count: group.rank * 3)
        let gathered = try group.gather(message, root: root, site: "check gather")
        let expected = (0..<group.size).map { [UInt8](repeating: UInt8($0 + 1), count: $0 * 3) }
        try expect(gathered == (group.rank == root ? expected : []), "gather gave \(gathered)")
        let sent = [UInt8]("from \(group.rank)".utf8)
        let told = try group.broadcast(sent, root: root, site: "check broadcast")
        try expect(told == [UInt8]("from \(root)".utf8), "broadcast gave \(told)")
        try expect(try group.broadcast([], root: 0, site: "check broadcast").isEmpty, "an empty broadcast")
        try expect(try group.any(group.rank == root, site: "check flag"), "any of one")
        try group.barrier(site: "check barrier")
    }

    /// The same bits when the values lie in memory that the group may share.
    private mutating func sharedMemory() throws {
        let count = 200_003
        let buffer = try group.allocateShared(byteCount: (count + 5) * 4)
        // Not at the start of the memory, as a bucket in a larger buffer.
        let numbers = UnsafeMutableBufferPointer(rebasing: buffer.bytes.bindMemory(to: Float.self)[5...])
        let offsets = (0...group.size).map { count * $0 / group.size }
        let piece = offsets[group.rank]..<offsets[group.rank + 1]

        _ = numbers.update(fromContentsOf: own[..<count])
        try group.allReduceSum(numbers, site: "check shared sums")
        try expect(firstWrong(numbers, in: 0..<count) == nil, "all-reduce in shared memory")

        _ = numbers.update(fromContentsOf: own[..<count])
        try group.reduceScatterSum(numbers, offsets: offsets, site: "check shared reduce-scatter")
        try expect(firstWrong(numbers, in: piece) == nil, "reduce-scatter in shared memory")

        try group.allGather(
            UnsafeMutableRawBufferPointer(numbers), offsets: offsets.map { $0 * 4 }, site: "check shared all-gather")
        try expect(firstWrong(numbers, in: 0..<count) == nil, "all-gather in shared memory")
        try group.barrier(site: "check end of shared memory")
    }

    /// Smaller groups: even and odd ranks, the latter in reverse order.
    private mutating func groups() throws {
        let color = group.rank % 2
        let members = (0..<group.size).filter { $0 % 2 == color }
        let order = color == 0 ? members : members.reversed()
        let part = try group.split(
            color: color, key: color == 0 ? group.rank : -group.rank, name: color == 0 ? "even" : "odd")
        try expect(part.size == order.count && order[part.rank] == group.rank, "split gave rank \(part.rank)")
        let told = try part.gather([UInt8(group.rank)], root: 0, site: "check parts")
        try expect(told == (part.rank == 0 ? order.map { [UInt8($0)] } : []), "a part gathered \(told)")
        let sum = try part.sum([Double(group.rank)], site: "check sum of a part")
        try expect(sum == [Double(members.reduce(0, +))], "the sum of a part is \(sum)")
        try expect(try group.sum([1], site: "check the whole again") == [Double(group.size)], "the whole after a split")
    }
}
