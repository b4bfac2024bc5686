/// The merges of a byte-pair encoding, and their application to one word.
///
/// Of all neighbouring symbols the pair of the lowest rank is merged, the leftmost first, until no pair has a merge.
///
/// `@unchecked Sendable`: the table is not changed after it is made.
final class BytePairMerges: @unchecked Sendable {
    struct Merge {
        let left: Int32
        let right: Int32
        let result: Int32
        /// Lower ones come first.
        let rank: Int32
    }

    /// What a word is being merged in; kept from word to word.
    struct Workspace: Sendable {
        /// The symbols, -1 for those that no merge knows, and where each begins in the word.
        var symbols: [Int32] = []
        var starts: [Int32] = []
    }

    private static let none = Int32.max
    /// Up to this many symbols, looking at all pairs is faster than a heap.
    private static let shortWord = 32

    private struct Slot {
        /// The pair, all ones where there is none.
        var pair = UInt64.max
        var result: Int32 = 0
        var rank = BytePairMerges.none
    }

    /// An open hash table by the pair.
    private let slots: UnsafeMutableBufferPointer<Slot>
    private let mask: Int

    /// Of several merges of one pair the first counts.
    init(_ merges: [Merge]) {
        var size = 16
        while size < 2 * merges.count { size *= 2 }
        mask = size - 1
        slots = .allocate(capacity: size)
        slots.initialize(repeating: Slot())
        for merge in merges {
            let pair = Self.pair(merge.left, merge.right)
            let place = place(of: pair)
            guard slots[place].pair == .max else { continue }
            slots[place] = Slot(pair: pair, result: merge.result, rank: merge.rank)
        }
    }

    deinit { slots.deallocate() }

    /// Merges what the workspace holds.
    func apply(to work: inout Workspace) {
        if work.symbols.count <= Self.shortWord { applyShort(&work) } else { applyLong(&work) }
    }

    @inline(__always)
    private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    /// The slot that holds the pair, or the free one where it belongs.
    @inline(__always)
    private func place(of pair: UInt64) -> Int {
        var place = Int(truncatingIfNeeded: (pair &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
        while slots[place].pair != pair, slots[place].pair != .max { place = (place + 1) & mask }
        return place
    }

    @inline(__always)
    private func find(_ left: Int32, _ right: Int32) -> (result: Int32, rank: Int32) {
        guard left >= 0, right >= 0 else { return (0, Self.none) }
        let slot = slots[place(of: Self.pair(left, right))]
        return (slot.result, slot.rank)
    }

    private func applyShort(_ work: inout Workspace) {
        let all = work.symbols.count
        guard all > 1 else { return }
        var count = all
        // In plain memory: there is no array to be checked at each step.
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: 4 * Self.shortWord) { buffer in
            guard let symbols = buffer.baseAddress else { return }
            let starts = symbols + Self.shortWord, ranks = starts + Self.shortWord, results = ranks + Self.shortWord
            for index in 0..<all {
                (symbols + index).initialize(to: work.symbols[index])
                (starts + index).initialize(to: work.starts[index])
            }
            for index in 0..<all - 1 {
                let (result, rank) = find(symbols[index], symbols[index + 1])
                (ranks + index).initialize(to: rank)
                (results + index).initialize(to: result)
            }
            merge(symbols, starts, ranks, results, &count)
            for index in 0..<count {
                work.symbols[index] = symbols[index]
                work.starts[index] = starts[index]
            }
        }
        work.symbols.removeLast(all - count)
        work.starts.removeLast(all - count)
    }

    /// - Parameters:
    ///   - ranks: Of the merge of each symbol with the next one, and what it gives in `results`.
    ///   - count: How many symbols there are.
    private func merge(
        _ symbols: UnsafeMutablePointer<Int32>, _ starts: UnsafeMutablePointer<Int32>,
        _ ranks: UnsafeMutablePointer<Int32>, _ results: UnsafeMutablePointer<Int32>, _ count: inout Int
    ) {
        while true {
            var best = 0
            var bestRank = Self.none
            for index in 0..<count - 1 where ranks[index] < bestRank {
                best = index
                bestRank = ranks[index]
            }
            guard bestRank != Self.none else { return }
            symbols[best] = results[best]
            count -= 1
            for index in best + 1..<count {
                symbols[index] = symbols[index + 1]
                starts[index] = starts[index + 1]
            }
            for index in best..<count - 1 {
                ranks[index] = ranks[index + 1]
                results[index] = results[index + 1]
            }
            if best > 0 { (results[best - 1], ranks[best - 1]) = find(symbols[best - 1], symbols[best]) }
            if best + 1 < count { (results[best], ranks[best]) = find(symbols[best], symbols[best + 1]) }
        }
    }

    /// With a heap of the pairs; an entry is old when its place has another rank by now.
    private func applyLong(_ work: inout Workspace) {
        let count = work.symbols.count
        var kept = 0
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: 4 * count) { links in
            // Each of fewer merges than symbols makes two new pairs.
            withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 3 * count) { pairs in
                guard let links = links.baseAddress, let pairs = pairs.baseAddress else { return }
                work.symbols.withUnsafeMutableBufferPointer { symbols in
                    guard let symbols = symbols.baseAddress else { return }
                    var chain = Chain(symbols: symbols, count: count, links: links, heap: Heap(pairs))
                    merge(&chain)
                    for index in 0..<count where chain.isThere(index) {
                        symbols[kept] = symbols[index]
                        work.starts[kept] = work.starts[index]
                        kept += 1
                    }
                }
            }
        }
        work.symbols.removeLast(count - kept)
        work.starts.removeLast(count - kept)
    }

    private func merge(_ chain: inout Chain) {
        for index in 0..<chain.count - 1 { rank(index, index + 1, &chain) }
        while let entry = chain.heap.popLowest() {
            let place = Int(entry & 0xFFFF_FFFF)
            guard chain.ranks[place] == Int32(entry >> 32) else { continue }
            chain.merge(place)
            let next = Int(chain.next[place])
            if next < chain.count { rank(place, next, &chain) }
            let previous = Int(chain.previous[place])
            if previous >= 0 { rank(previous, place, &chain) }
        }
    }

    @inline(__always)
    private func rank(_ left: Int, _ right: Int, _ chain: inout Chain) {
        let (result, rank) = find(chain.symbols[left], chain.symbols[right])
        chain.results[left] = result
        chain.ranks[left] = rank
        if rank != Self.none { chain.heap.push(UInt64(rank) << 32 | UInt64(left)) }
    }

    /// The symbols of a long word, in plain memory.
    private struct Chain {
        let symbols: UnsafeMutablePointer<Int32>
        let count: Int
        /// Of the merge of each symbol with the next one, and what it gives in `results`.
        let ranks: UnsafeMutablePointer<Int32>
        let results: UnsafeMutablePointer<Int32>
        let next: UnsafeMutablePointer<Int32>
        /// -2 for a symbol that has become part of the one before it.
        let previous: UnsafeMutablePointer<Int32>
        var heap: Heap

        /// - Parameter links: Memory for four numbers a symbol.
        init(symbols: UnsafeMutablePointer<Int32>, count: Int, links: UnsafeMutablePointer<Int32>, heap: Heap) {
            self.symbols = symbols
            self.count = count
            self.heap = heap
            links.initialize(repeating: 0, count: 4 * count)
            (ranks, results, next, previous) = (links, links + count, links + 2 * count, links + 3 * count)
            for index in 0..<count {
                ranks[index] = BytePairMerges.none
                next[index] = Int32(index) + 1
                previous[index] = Int32(index) - 1
            }
        }

        func isThere(_ place: Int) -> Bool { previous[place] > -2 }

        /// Merges a symbol with the next one.
        @inline(__always)
        func merge(_ place: Int) {
            let merged = Int(next[place])
            symbols[place] = results[place]
            next[place] = next[merged]
            if Int(next[place]) < count { previous[Int(next[place])] = Int32(place) }
            ranks[merged] = BytePairMerges.none
            previous[merged] = -2
            ranks[place] = BytePairMerges.none
        }
    }

    /// A heap of rank and place, the lowest first.
    private struct Heap {
        private let entries: UnsafeMutablePointer<UInt64>
        private var count = 0

        /// - Parameter entries: Memory for all that will be in it.
        init(_ entries: UnsafeMutablePointer<UInt64>) { self.entries = entries }

        @inline(__always)
        mutating func push(_ entry: UInt64) {
            var child = count
            count += 1
            (entries + child).initialize(to: entry)
            while child > 0, entries[(child - 1) / 2] > entry {
                entries[child] = entries[(child - 1) / 2]
                child = (child - 1) / 2
            }
            entries[child] = entry
        }

        @inline(__always)
        mutating func popLowest() -> UInt64? {
            guard count > 0 else { return nil }
            count -= 1
            let lowest = entries[0], last = entries[count]
            var parent = 0
            while 2 * parent + 1 < count {
                var child = 2 * parent + 1
                if child + 1 < count, entries[child + 1] < entries[child] { child += 1 }
                guard entries[child] < last else { break }
                entries[parent] = entries[child]
                parent = child
            }
            entries[parent] = last
            return lowest
        }
    }
}
