/// Deals the places of an endless stream out to sources, in proportion to their shares.
///
/// Place k belongs to the source of slot k mod P of one table, so what a source has had before any place is found without
/// counting. The table is filled by the rule of Megatron-LM's blended data sets: each slot goes to the source that is the
/// furthest behind its share, of equals to the first. In it no source is ever a whole slot
/// ahead of its share.
struct SlotTable: Sendable {
    /// P: slots of a table of several sources.
    static let period = 1 << 16

    private let sources: [UInt8]
    /// How many slots before this one are its source's too.
    private let ranks: [UInt16]
    /// Slots of each source.
    private let counts: [Int]

    /// - Parameter shares: Of each source, 0 for one that takes no part; some are positive, and all are at most 2^40.
    init(_ shares: [Int]) {
        let total = shares.reduce(0, +)
        precondition(total > 0 && shares.count <= 256 && shares.allSatisfy { (0...1 << 40).contains($0) })
        let active = shares.indices.filter { shares[$0] > 0 }
        let period = active.count == 1 ? 1 : Self.period
        var sources: [UInt8] = [], ranks: [UInt16] = []
        var counts = shares.map { _ in 0 }
        // How far each source is behind, times the sum of the shares.
        var behind = shares.map { _ in 0 }
        for _ in 0..<period {
            var chosen = active[0]
            for source in active {
                behind[source] += shares[source]
                if behind[source] > behind[chosen] { chosen = source }
            }
            sources.append(UInt8(chosen))
            ranks.append(UInt16(counts[chosen]))
            counts[chosen] += 1
            behind[chosen] -= total
        }
        self.sources = sources
        self.ranks = ranks
        self.counts = counts
    }

    /// The source of a place, and which of its own items stands there.
    func item(at place: Int) -> (source: Int, index: Int) {
        let (round, slot) = place.quotientAndRemainder(dividingBy: sources.count)
        let source = Int(sources[slot])
        return (source, round * counts[source] + Int(ranks[slot]))
    }

    /// How many of the places before `place` are a source's.
    func count(of source: Int, before place: Int) -> Int {
        let (rounds, slots) = place.quotientAndRemainder(dividingBy: sources.count)
        return rounds * counts[source] + sources[..<slots].count { $0 == UInt8(source) }
    }

    /// The share of the places that a source has.
    func share(of source: Int) -> Double { Double(counts[source]) / Double(sources.count) }
}
