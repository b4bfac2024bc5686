internal import Synchronization

/// The ids of words that were encoded before.
struct WordCache: Sendable {
    /// Beyond this, everything is forgotten, so that memory stays bounded for any text.
    private static let mostWords = 1 << 18
    private static let mostBytes = 1 << 23
    /// Longer words seldom come again.
    private static let longestWord = 64

    private let frequent = FrequentWords()
    private var words = WordTable()
    private var ids: [Int32] = []
    /// Where the ids of each word end.
    private var ends: [Int] = []
    private var workspace = BytePairMerges.Workspace()

    /// Appends the ids of the word that lies at `range` of a text; `encode` gives them when they are not known.
    @inline(__always)
    mutating func append(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, to result: inout [Int32],
        encode: (UnsafeBufferPointer<UInt8>, inout BytePairMerges.Workspace, inout [Int32]) -> Void
    ) {
        guard range.count <= FrequentWords.Key.longest else {
            return appendRare(UnsafeBufferPointer(rebasing: text[range]), to: &result, encode: encode)
        }
        let key = FrequentWords.Key(text, range)
        if frequent.append(key, to: &result) { return }
        let start = result.count
        appendRare(UnsafeBufferPointer(rebasing: text[range]), to: &result, encode: encode)
        frequent.set(key, result[start...])
    }

    private mutating func appendRare(
        _ word: UnsafeBufferPointer<UInt8>, to result: inout [Int32],
        encode: (UnsafeBufferPointer<UInt8>, inout BytePairMerges.Workspace, inout [Int32]) -> Void
    ) {
        guard word.count <= Self.longestWord else { return encode(word, &workspace, &result) }
        if words.count >= Self.mostWords || words.byteCount >= Self.mostBytes {
            words = WordTable()
            ids.removeAll(keepingCapacity: true)
            ends.removeAll(keepingCapacity: true)
        }
        let number = words.add(word)
        if number == ends.count {
            encode(word, &workspace, &ids)
            ends.append(ids.count)
        }
        let start = number == 0 ? 0 : ends[number - 1]
        for place in start..<ends[number] { result.append(ids[place]) }
    }
}

/// A cache for each thread that encodes at the same time.
final class WordCaches: Sendable {
    private let free = Mutex<[WordCache]>([])

    func with(_ body: (inout WordCache) -> Void) {
        var cache = free.withLock { $0.popLast() } ?? WordCache()
        body(&cache)
        free.withLock { [cache] in $0.append(cache) }
    }
}
