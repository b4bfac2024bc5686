/// Cuts valid UTF-8 by a pattern.
struct WordScanner {
    private let text: UnsafeBufferPointer<UInt8>
    private let pattern: WordPattern
    /// Where the text ends for the pattern: at a digit that is cut off beforehand, or at the real end.
    private var limit: Int
    private let classes: UnsafePointer<CharacterClass>

    init(_ text: UnsafeBufferPointer<UInt8>, _ pattern: WordPattern) {
        self.text = text
        self.pattern = pattern
        limit = pattern == .digitsThenGPT2 ? 0 : text.count
        classes = CharacterClass.table
    }

    @inline(__always)
    private func character(at place: Int) -> (kind: CharacterClass, next: Int) {
        let byte = text[place]
        if byte < 0x80 { return (classes[Int(byte)], place + 1) }
        let (scalar, length) = UTF8Scalar.decode(text, at: place)
        return (classes[scalar], place + length)
    }

    /// Where the run of characters of some classes ends that begins at `place`.
    @inline(__always)
    private func end(of wanted: CharacterClass, from place: Int) -> Int {
        var place = place
        while place < limit {
            let (kind, next) = character(at: place)
            guard !kind.isDisjoint(with: wanted) else { break }
            place = next
        }
        return place
    }

    /// The end of the word that begins at `start`, which lies before the end of the text.
    @inline(__always)
    mutating func endOfWord(from start: Int) -> Int {
        switch pattern {
        case .gpt2: return gpt2(start)
        case .llama3: return modern(start, digits: 3)
        case .qwen2: return modern(start, digits: 1)
        case .tekken: return tekken(start)
        case .digitsThenGPT2:
            if start >= limit {
                let (kind, next) = character(at: start)
                if kind.contains(.number) { return next }
                limit = next
                while limit < text.count {
                    let (kind, next) = character(at: limit)
                    if kind.contains(.number) { break }
                    limit = next
                }
            }
            return gpt2(start)
        }
    }

    // MARK: Alternatives

    /// `'s|'t|'re|'ve|'m|'ll|'d`
    @inline(__always)
    private func contraction(_ start: Int, ignoresCase: Bool) -> Int? {
        guard text[start] == UInt8(ascii: "'"), start + 1 < limit else { return nil }
        let mask: UInt8 = ignoresCase ? 0x20 : 0
        let second = start + 2 < limit ? text[start + 2] | mask : 0
        switch text[start + 1] | mask {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return start + 2
        case UInt8(ascii: "r") where second == UInt8(ascii: "e"), UInt8(ascii: "v") where second == UInt8(ascii: "e"),
            UInt8(ascii: "l") where second == UInt8(ascii: "l"):
            return start + 3
        default:
            // U+017F is an s for those that ignore case.
            guard ignoresCase, start + 2 < limit, text[start + 1] == 0xC5, text[start + 2] == 0xBF else { return nil }
            return start + 3
        }
    }

    /// `\s+(?!\S)|\s+`, and before it `\s*[\r\n]+` where lines end words.
    @inline(__always)
    private func space(_ start: Int, endsAtLines: Bool) -> Int {
        var place = start
        var last = start
        var line: Int?
        while place < limit {
            let (kind, next) = character(at: place)
            guard kind.contains(.space) else { return line ?? (last > start ? last : place) }
            if endsAtLines, kind.contains(.newline) { line = next }
            last = place
            place = next
        }
        return line ?? place
    }

    private func gpt2(_ start: Int) -> Int {
        if let end = contraction(start, ignoresCase: false) { return end }
        var place = start
        if text[start] == 0x20, start + 1 < limit { place = start + 1 }
        let (kind, next) = character(at: place)
        if kind.contains(.letter) { return end(of: .letter, from: next) }
        if kind.contains(.number) { return end(of: .number, from: next) }
        if kind.contains(.other) { return end(of: .other, from: next) }
        return space(start, endsAtLines: false)
    }

    private func modern(_ start: Int, digits: Int) -> Int {
        if let end = contraction(start, ignoresCase: true) { return end }
        let (kind, next) = character(at: start)
        if kind.contains(.letter) { return end(of: .letter, from: next) }
        if kind.isDisjoint(with: [.number, .newline]), next < limit {
            let (second, afterSecond) = character(at: next)
            if second.contains(.letter) { return end(of: .letter, from: afterSecond) }
        }
        return numberOrRest(start, kind, next, digits: digits, behind: .newline)
    }

    /// `\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[…]*|` and spaces
    @inline(__always)
    private func numberOrRest(
        _ start: Int, _ kind: CharacterClass, _ next: Int, digits: Int, behind: CharacterClass
    ) -> Int {
        if kind.contains(.number) {
            var place = next
            for _ in 1..<max(digits, 1) where place < limit {
                let (kind, next) = character(at: place)
                guard kind.contains(.number) else { break }
                place = next
            }
            return place
        }
        if kind.contains(.other) { return end(of: behind, from: end(of: .other, from: next)) }
        if text[start] == 0x20, next < limit {
            let (second, afterSecond) = character(at: next)
            if second.contains(.other) { return end(of: behind, from: end(of: .other, from: afterSecond)) }
        }
        return space(start, endsAtLines: true)
    }

    private func tekken(_ start: Int) -> Int {
        let (kind, next) = character(at: start)
        let hasSkipped = kind.isDisjoint(with: [.letter, .number, .newline])
        let starts = hasSkipped ? [next, start] : [start]
        // `[upper]*[lower]+`, the last of which may have to be given back by the first.
        for first in starts {
            var place = first
            var lastOfBoth: Int?
            while place < limit {
                let (kind, next) = character(at: place)
                guard kind.contains(.upper) else { break }
                place = next
                if kind.contains(.lower) { lastOfBoth = next }
            }
            let end = end(of: .lower, from: place)
            if end > place { return end }
            if let lastOfBoth { return lastOfBoth }
        }
        // `[upper]+[lower]*`, behind which nothing is lower.
        for first in starts {
            let end = end(of: .upper, from: first)
            if end > first { return end }
        }
        return numberOrRest(start, kind, next, digits: 1, behind: [.newline, .slash])
    }
}
