/// Cuts a text into the words that libsentencepiece's trainer would make of it.
///
/// A word is a run of spaces and what follows up to the next space; the trainer puts a space before each text, and before
/// each word that it is given. Words are therefore given without their first space. What no piece may hold ends a word:
/// control characters and line ends, which are left to the bytes, and the two characters that libsentencepiece keeps for
/// itself. So does a length that its trainer cannot bear (above 32,767 letters it writes out of bounds). What goes on after
/// such an end is no word's beginning; a NUL before it, which the trainer takes for an unknown letter, keeps it from being
/// joined to a space.
struct TrainingWordScanner {
    /// In letters; no piece has more than 16.
    static let longestWord = 1024

    private(set) var cutWords = 0
    private let text: UnsafeBufferPointer<UInt8>
    private var place = 0
    /// How many spaces stand before the next letter.
    private var spaces = 1
    private var wasCut = false
    private var word: [UInt8] = []

    init(_ text: UnsafeBufferPointer<UInt8>) {
        self.text = text
        word.reserveCapacity(5 * Self.longestWord)
    }

    /// Gives the words one after the other; each is valid during the call only.
    mutating func forEach(_ body: (UnsafeBufferPointer<UInt8>) -> Void) {
        while true {
            switch kind(at: place) {
            case .space(let length):
                if spaces == Self.longestWord {
                    give(letters: place..<place, to: body)
                    markCut()
                }
                spaces += 1
                place += length
            case .letter:
                let start = place
                let goesOn = skipLetters()
                give(letters: start..<place, to: body)
                if goesOn { markCut() } else { wasCut = false }
            case .boundary(let length):
                // One space alone teaches nothing.
                if spaces > 1 { give(letters: place..<place, to: body) }
                guard place < text.count else { return }
                spaces = 0
                wasCut = false
                place += length
            }
        }
    }

    private enum Kind {
        case space(length: Int)
        case letter(length: Int)
        /// The text's end or a character that is part of no word.
        case boundary(length: Int)
    }

    private func kind(at place: Int) -> Kind {
        guard place < text.count else { return .boundary(length: 0) }
        let byte = text[place]
        switch byte {
        case 0x20: return .space(length: 1)
        case 0x00..<0x20, 0x7F: return .boundary(length: 1)
        case 0x21..<0x7F: return .letter(length: 1)
        case 0xC2: return text[place + 1] < 0xA0 ? .boundary(length: 2) : .letter(length: 2)
        case 0x80..<0xE0: return .letter(length: 2)
        case 0xE2:
            switch (text[place + 1], text[place + 2]) {
            // U+2581, libsentencepiece's sign for a space.
            case (0x96, 0x81): return .space(length: 3)
            // U+2585, its sign for an unknown letter, and the separators of lines and paragraphs.
            case (0x96, 0x85), (0x80, 0xA8), (0x80, 0xA9): return .boundary(length: 3)
            default: return .letter(length: 3)
            }
        case 0xE0..<0xF0: return .letter(length: 3)
        default: return .letter(length: 4)
        }
    }

    /// - Returns: Whether the word goes on after the longest length.
    private mutating func skipLetters() -> Bool {
        var count = spaces
        while case .letter(let length) = kind(at: place) {
            if count >= Self.longestWord { return true }
            count += 1
            place += length
        }
        return false
    }

    /// Counts each word once, in however many parts it is cut.
    private mutating func markCut() {
        if !wasCut { cutWords += 1 }
        wasCut = true
    }

    private mutating func give(letters: Range<Int>, to body: (UnsafeBufferPointer<UInt8>) -> Void) {
        defer { spaces = 0 }
        if spaces == 1 { return body(UnsafeBufferPointer(rebasing: text[letters])) }
        word.removeAll(keepingCapacity: true)
        if spaces == 0 { word.append(0) }
        word.append(contentsOf: repeatElement(0x20, count: max(0, spaces - 1)))
        word.append(contentsOf: text[letters])
        word.withUnsafeBufferPointer(body)
    }
}
