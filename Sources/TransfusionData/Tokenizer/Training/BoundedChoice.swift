internal import TransfusionCore

/// A random choice of the items offered that costs at most a limit.
///
/// Each item's key is a random number that depends on its address alone. Chosen are the items with the smallest keys, up to
/// the first that no longer fits, so that the choice is the same each time and in whatever order the items come.
struct BoundedChoice<Item> {
    private struct Entry {
        let key: UInt64
        let cost: Int
        let item: Item
    }

    private let limit: Int
    private var cost = 0
    /// A heap with the largest key first.
    private var entries: [Entry] = []
    /// The smallest key that did not fit; no larger one does.
    private var refused = UInt64.max

    init(limit: Int) {
        self.limit = limit
    }

    var count: Int { entries.count }
    var items: some Sequence<Item> { entries.lazy.map(\.item) }

    /// - Parameters:
    ///   - cost: At most the limit counts, so that one item always fits.
    ///   - number: The item's place in its source.
    mutating func offer(_ item: Item, cost: Int, source: Int, number: Int) {
        let words = Philox(seed: 0, purpose: .tokenizerSample, index: source).words(number)
        let key = UInt64(words.x) << 32 | UInt64(words.y)
        guard key < refused else { return }
        let cost = min(cost, limit)
        self.cost += cost
        entries.append(Entry(key: key, cost: cost, item: item))
        raiseLast()
        while self.cost > limit { removeLargest() }
    }

    private mutating func raiseLast() {
        var child = entries.count - 1
        while child > 0, entries[(child - 1) / 2].key < entries[child].key {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func removeLargest() {
        entries.swapAt(0, entries.count - 1)
        let largest = entries.removeLast()
        refused = largest.key
        cost -= largest.cost
        var parent = 0
        while 2 * parent + 1 < entries.count {
            var child = 2 * parent + 1
            if child + 1 < entries.count, entries[child + 1].key > entries[child].key { child += 1 }
            guard entries[child].key > entries[parent].key else { return }
            entries.swapAt(parent, child)
            parent = child
        }
    }
}
