/// The words of a corpus in the form in which libsentencepiece's trainer takes them: lines `word<TAB>occurrences`.
struct TrainingWords {
    /// The trainer needs some 100 bytes a letter of different words.
    static let mostLetters = 2 << 20
    /// Llama's share of the text whose characters have pieces of their own.
    static let coverage = 0.9999

    private(set) var lines: [UInt8] = []
    /// Where each line ends in `lines`.
    private(set) var ends: [Int] = []
    /// How many of the rarest words were left out.
    private(set) var leftOut = 0
    /// How many characters have no piece.
    private(set) var spelled = 0

    /// Whether there is anything but spaces.
    private(set) var hasLetters = false

    /// - Parameter characters: How many characters may have a piece of their own.
    init(_ counts: WordCounts, characters: Int) {
        let chosen = choose(from: counts)
        let isKept = alphabet(of: chosen, in: counts, room: characters)
        for word in chosen { append(word, of: counts, isKept) }
    }

    /// The most frequent words that are not too much for the trainer; of equally frequent ones a random choice, by hash.
    private mutating func choose(from counts: WordCounts) -> [Int] {
        var words = Array(counts.occurrences.indices)
        words.sort { one, other in
            let (times, otherTimes) = (counts.occurrences[one], counts.occurrences[other])
            if times != otherTimes { return times > otherTimes }
            let (hash, otherHash) = (counts.words.hash(of: one), counts.words.hash(of: other))
            if hash != otherHash { return hash < otherHash }
            return counts.words.withBytes(of: one) { bytes in
                counts.words.withBytes(of: other) { bytes.lexicographicallyPrecedes($0) }
            }
        }
        var letters = 0
        let end = words.firstIndex { word in
            letters += counts.words.withBytes(of: word) { bytes in bytes.count { $0 & 0xC0 != 0x80 } }
            return letters > Self.mostLetters
        }
        leftOut = words.count - (end ?? words.count)
        words.removeLast(leftOut)
        return words
    }

    /// Which characters have a piece: the most frequent ones that make up the wanted share of the text, as far as there is
    /// room.
    private mutating func alphabet(of words: [Int], in counts: WordCounts, room: Int) -> [Bool] {
        var occurrences = [Int](repeating: 0, count: 0x11_0000)
        for word in words {
            let times = counts.occurrences[word]
            // The space that each word begins with and is given without.
            occurrences[0x20] += times
            counts.words.withBytes(of: word) { bytes in
                Self.forEachScalar(of: bytes) { scalar, _ in occurrences[scalar] += times }
            }
        }
        occurrences[0] = 0
        let total = occurrences.reduce(0, +)
        // The space is in every model, as the trainer puts it before each word.
        let scalars = occurrences.indices.filter { occurrences[$0] > 0 }
            .sorted { ($1 == 0x20 ? 1 : 0, occurrences[$1], $0) < ($0 == 0x20 ? 1 : 0, occurrences[$0], $1) }
        hasLetters = scalars.contains { $0 != 0x20 }
        var isKept = [Bool](repeating: false, count: 0x11_0000)
        var covered = 0
        var kept = 0
        for scalar in scalars where kept < room && Double(covered) < Self.coverage * Double(total) {
            covered += occurrences[scalar]
            kept += 1
            isKept[scalar] = true
        }
        spelled = scalars.count - kept
        return isKept
    }

    /// Writes the line of a word, with NUL for characters that have no piece.
    private mutating func append(_ word: Int, of counts: WordCounts, _ isKept: [Bool]) {
        counts.words.withBytes(of: word) { bytes in
            Self.forEachScalar(of: bytes) { scalar, range in
                if isKept[scalar] { lines.append(contentsOf: bytes[range]) } else { lines.append(0) }
            }
        }
        lines.append(0x09)
        lines.append(contentsOf: String(counts.occurrences[word]).utf8)
        ends.append(lines.count)
    }

    private static func forEachScalar(of bytes: UnsafeBufferPointer<UInt8>, _ body: (Int, Range<Int>) -> Void) {
        var place = 0
        while place < bytes.count {
            let (scalar, length) = UTF8Scalar.decode(bytes, at: place)
            body(scalar, place..<place + length)
            place += length
        }
    }
}
