internal import Glibc

/// Different strings of bytes, each with a number: its place in the order in which they were added.
struct WordTable {
    private struct Entry {
        let start: Int
        let length: Int
        let hash: UInt64
    }

    private var bytes: [UInt8] = []
    private var entries: [Entry] = []
    /// An open hash table of places in `entries` plus one; 0 is free.
    private var slots = [UInt32](repeating: 0, count: 1 << 10)

    var count: Int { entries.count }
    var byteCount: Int { bytes.count }

    func hash(of number: Int) -> UInt64 { entries[number].hash }

    func withBytes<Result>(of number: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        let entry = entries[number]
        return bytes.withUnsafeBufferPointer {
            body(UnsafeBufferPointer(rebasing: $0[entry.start..<entry.start + entry.length]))
        }
    }

    func number(of word: UnsafeBufferPointer<UInt8>) -> Int? {
        let (slot, _) = place(of: word)
        return slots[slot] == 0 ? nil : Int(slots[slot]) - 1
    }

    /// The number of a word, which is the former `count` when it is new.
    mutating func add(_ word: UnsafeBufferPointer<UInt8>) -> Int {
        let (slot, hash) = place(of: word)
        if slots[slot] != 0 { return Int(slots[slot]) - 1 }
        entries.append(Entry(start: bytes.count, length: word.count, hash: hash))
        bytes.append(contentsOf: word)
        slots[slot] = UInt32(entries.count)
        if entries.count > slots.count / 2 { grow() }
        return entries.count - 1
    }

    /// The slot that holds the word, or the free one where it belongs.
    private func place(of word: UnsafeBufferPointer<UInt8>) -> (slot: Int, hash: UInt64) {
        let hash = Self.hash(word)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] != 0, !isEqual(entries[Int(slots[slot]) - 1], word, hash) {
            slot = (slot + 1) & (slots.count - 1)
        }
        return (slot, hash)
    }

    private func isEqual(_ entry: Entry, _ word: UnsafeBufferPointer<UInt8>, _ hash: UInt64) -> Bool {
        guard entry.hash == hash, entry.length == word.count else { return false }
        guard let other = word.baseAddress else { return true }
        return bytes.withUnsafeBufferPointer { bytes in
            bytes.baseAddress.map { memcmp($0 + entry.start, other, word.count) == 0 } ?? true
        }
    }

    private mutating func grow() {
        slots = [UInt32](repeating: 0, count: 2 * slots.count)
        for (index, entry) in entries.enumerated() {
            var slot = Int(truncatingIfNeeded: entry.hash) & (slots.count - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = UInt32(index + 1)
        }
    }

    /// FNV-1a, the same in every process, with its high bits folded into the low ones.
    private static func hash(_ word: UnsafeBufferPointer<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in word { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return hash ^ hash >> 29
    }
}
