internal import Glibc

/// Different strings of bytes, each with a number: its place in the order in which they were added.
struct WordTable {
    private struct Entry {
        let hash: UInt64
        let start: Int
        let length: Int
    }

    private struct Slot {
        /// The upper half of the hash, so that few words are looked at in vain.
        var tag: UInt32 = 0
        /// The word's number plus one; 0 is free.
        var next: UInt32 = 0
    }

    private var bytes: [UInt8] = []
    private var entries: [Entry] = []
    /// An open hash table.
    private var slots = [Slot](repeating: Slot(), count: 1 << 10)

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
        return slots[slot].next == 0 ? nil : Int(slots[slot].next) - 1
    }

    /// The number of a word, which is the former `count` when it is new.
    mutating func add(_ word: UnsafeBufferPointer<UInt8>) -> Int {
        let (slot, hash) = place(of: word)
        if slots[slot].next != 0 { return Int(slots[slot].next) - 1 }
        entries.append(Entry(hash: hash, start: bytes.count, length: word.count))
        bytes.append(contentsOf: word)
        slots[slot] = Slot(tag: UInt32(hash >> 32), next: UInt32(entries.count))
        if entries.count > slots.count / 2 { grow() }
        return entries.count - 1
    }

    /// The slot that holds the word, or the free one where it belongs.
    private func place(of word: UnsafeBufferPointer<UInt8>) -> (slot: Int, hash: UInt64) {
        let hash = Self.hash(word)
        let tag = UInt32(hash >> 32)
        let mask = slots.count - 1
        let slot = slots.withUnsafeBufferPointer { slots in
            var slot = Int(truncatingIfNeeded: hash) & mask
            while slots[slot].next != 0, slots[slot].tag != tag || !isEqual(Int(slots[slot].next) - 1, word) {
                slot = (slot + 1) & mask
            }
            return slot
        }
        return (slot, hash)
    }

    private func isEqual(_ number: Int, _ word: UnsafeBufferPointer<UInt8>) -> Bool {
        let entry = entries[number]
        guard entry.length == word.count, let other = word.baseAddress else { return entry.length == word.count }
        return bytes.withUnsafeBufferPointer { bytes in
            bytes.baseAddress.map { memcmp($0 + entry.start, other, word.count) == 0 } ?? true
        }
    }

    private mutating func grow() {
        slots = [Slot](repeating: Slot(), count: 2 * slots.count)
        for (index, entry) in entries.enumerated() {
            var slot = Int(truncatingIfNeeded: entry.hash) & (slots.count - 1)
            while slots[slot].next != 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = Slot(tag: UInt32(entry.hash >> 32), next: UInt32(index + 1))
        }
    }

    /// Eight bytes at a time; the same in every process.
    private static func hash(_ word: UnsafeBufferPointer<UInt8>) -> UInt64 {
        let bytes = UnsafeRawBufferPointer(word)
        var hash = UInt64(bytes.count) &* 0x9E37_79B9_7F4A_7C15
        var place = 0
        while place + 8 <= bytes.count {
            hash = mix(hash ^ UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)))
            place += 8
        }
        var rest: UInt64 = 0
        if place + 4 <= bytes.count {
            rest = UInt64(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self)))
            place += 4
        }
        while place < bytes.count {
            rest = rest << 8 | UInt64(bytes[place])
            place += 1
        }
        return mix(hash ^ rest)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low
    }
}
