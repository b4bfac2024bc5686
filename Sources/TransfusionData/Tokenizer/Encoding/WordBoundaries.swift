/// Where text can be cut before it is encoded without changing the result: between characters that no piece has side by side,
/// no merge can go over.
///
/// The shorter the words, the more often one comes again and is found in a cache.
struct WordBoundaries: Sendable {
    private static let space = 0x20
    /// U+2581 in pieces, which stands for a space in text.
    private static let spaceSign = 0x2581
    private static let firstBeyondASCII = 0x80

    /// A bit for each pair of bytes: whether nothing may be cut between them.
    private var joined = [UInt64](repeating: 0, count: 256 * 256 / 64)

    /// Without pieces. Text is never cut beside a character beyond ASCII, but before a space.
    init() {
        for left in 0..<256 {
            for right in Self.firstBeyondASCII..<256 { join(left, right) }
        }
        for left in Self.firstBeyondASCII..<256 {
            for right in 0..<Self.firstBeyondASCII where right != Self.space { join(left, right) }
        }
    }

    /// Joins what stands side by side in a piece, which is UTF-8.
    mutating func add(_ piece: ArraySlice<UInt8>) {
        piece.withUnsafeBufferPointer { piece in
            var before: Int?
            var place = 0
            while place < piece.count {
                let (scalar, length) = UTF8Scalar.decode(piece, at: place)
                let character = scalar == Self.spaceSign ? Self.space : scalar
                if let before { join(characters: before, character) }
                before = character
                place += length
            }
        }
    }

    private mutating func join(characters left: Int, _ right: Int) {
        guard right < Self.firstBeyondASCII else { return }
        if left < Self.firstBeyondASCII {
            join(left, right)
        } else {
            for byte in Self.firstBeyondASCII..<256 { join(byte, right) }
        }
    }

    /// Joins two bytes of text.
    mutating func join(_ left: Int, _ right: Int) {
        let pair = left << 8 | right
        joined[pair >> 6] |= 1 << UInt64(pair & 63)
    }

    /// Joins everything.
    mutating func joinAll() {
        for place in joined.indices { joined[place] = .max }
    }

    /// Cuts before each space, whatever pieces say.
    mutating func cutBeforeSpaces() {
        for left in 0..<256 {
            let pair = left << 8 | Self.space
            joined[pair >> 6] &= ~(1 << UInt64(pair & 63))
        }
    }

    /// The end of the word that begins at a place of a text.
    @inline(__always)
    func endOfWord(_ text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        joined.withUnsafeBufferPointer { joined in
            var end = start + 1
            var pair = Int(text[start])
            while end < text.count {
                pair = pair << 8 & 0xFF00 | Int(text[end])
                guard joined[pair >> 6] >> UInt64(pair & 63) & 1 == 1 else { break }
                end += 1
            }
            return end
        }
    }
}
