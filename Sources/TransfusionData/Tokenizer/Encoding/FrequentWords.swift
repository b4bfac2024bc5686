internal import Glibc

/// The ids of the short words of late, each in one line of the processor's cache: a look costs one fetch from memory.
///
/// Two words share a place, and a new one takes that of the older.
///
/// `@unchecked Sendable`: a cache is used by one thread at a time.
final class FrequentWords: @unchecked Sendable {
    /// A word as a number: its bytes, padded with zeros.
    struct Key: Equatable {
        var low: UInt64
        var high: UInt64
        var length: Int

        static let longest = 16

        /// - Parameters:
        ///   - text: What the word is part of.
        ///   - range: Where it lies, at most `longest` bytes.
        @inline(__always)
        init(_ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) {
            length = range.count
            let bytes = UnsafeRawBufferPointer(text)
            if range.lowerBound + Self.longest <= bytes.count {
                low = bytes.loadUnaligned(fromByteOffset: range.lowerBound, as: UInt64.self)
                high = bytes.loadUnaligned(fromByteOffset: range.lowerBound + 8, as: UInt64.self)
                low &= ~0 >> (64 - 8 * UInt64(min(length, 8)))
                high &= length > 8 ? ~0 >> (64 - 8 * UInt64(length - 8)) : 0
            } else {
                low = 0
                high = 0
                for place in range.reversed() {
                    high = high << 8 | low >> 56
                    low = low << 8 | UInt64(bytes[place])
                }
            }
        }

        @inline(__always)
        fileprivate var place: Int {
            let product = (low ^ UInt64(length) << 56).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
            let other = (high &* 0xD6E8_FEB8_6659_FD93) >> 32
            return Int(truncatingIfNeeded: product.high ^ product.low >> 32 ^ other) & (FrequentWords.count - 2)
        }
    }

    private struct Entry {
        static let mostIDs = 10

        var low: UInt64 = 0
        var high: UInt64 = 0
        /// 0 in an entry that is free.
        var length: Int32 = 0
        var count: Int32 = 0
        var ids: (Int32, Int32, Int32, Int32, Int32, Int32, Int32, Int32, Int32, Int32) = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

        @inline(__always)
        func holds(_ key: Key) -> Bool { low == key.low && high == key.high && Int(length) == key.length }
    }

    fileprivate static let count = 1 << 17
    private let entries: UnsafeMutablePointer<Entry>

    private static let byteCount = MemoryLayout<Entry>.stride * count

    init() {
        // Zeros, which are free entries, in pages that are there once they are used: most texts are short. Two entries lie in two
        // neighbouring lines.
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        guard let memory = mmap(nil, Self.byteCount, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED else {
            fatalError("no memory for the words of late")
        }
        entries = memory.bindMemory(to: Entry.self, capacity: Self.count)
    }

    deinit { munmap(entries, Self.byteCount) }

    /// Appends the ids of a word.
    /// - Returns: false when they are not known.
    @inline(__always)
    func append(_ key: Key, to result: inout [Int32]) -> Bool {
        var entry = entries + key.place
        if !entry.pointee.holds(key) {
            entry += 1
            guard entry.pointee.holds(key) else { return false }
        }
        withUnsafeBytes(of: &entry.pointee.ids) { ids in
            let ids = ids.assumingMemoryBound(to: Int32.self)
            for place in 0..<Int(entry.pointee.count) { result.append(ids[place]) }
        }
        return true
    }

    func set(_ key: Key, _ ids: ArraySlice<Int32>) {
        guard ids.count <= Entry.mostIDs, key.length > 0 else { return }
        let entry = entries + key.place
        entry[1] = entry[0]
        entry.pointee = Entry(low: key.low, high: key.high, length: Int32(key.length), count: Int32(ids.count))
        withUnsafeMutableBytes(of: &entry.pointee.ids) { bytes in
            ids.withUnsafeBytes { bytes.copyMemory(from: $0) }
        }
    }
}
