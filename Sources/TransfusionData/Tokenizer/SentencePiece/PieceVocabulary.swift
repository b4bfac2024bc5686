/// The pieces of a vocabulary by their text, and numbers after theirs for characters that have no piece of their own.
struct PieceVocabulary {
    /// The symbol of each character, -1 where no piece has it.
    private(set) var characters = [Int32](repeating: -1, count: 0x11_0000)
    private var table = WordTable()
    /// The ids of the table's numbers.
    private var ids: [Int32] = []
    private var next: Int32 = 0
    private var extra: Int32 = 1 << 24

    /// Gives the next id to a piece.
    /// - Returns: false when the text has one already, or is empty or no UTF-8.
    mutating func add(_ text: ArraySlice<UInt8>) -> Bool {
        guard !text.isEmpty, String(validating: text, as: UTF8.self) != nil else { return false }
        let isNew = text.withUnsafeBufferPointer { text in
            let number = table.add(text)
            guard number == ids.count else { return false }
            ids.append(next)
            let (scalar, length) = UTF8Scalar.decode(text, at: 0)
            if length == text.count { characters[scalar] = next }
            return true
        }
        next += 1
        return isNew
    }

    /// Gives the next id to a piece that is never found in text.
    mutating func skip() { next += 1 }

    /// All ways to put a piece together from two symbols.
    mutating func parts(of text: ArraySlice<UInt8>) -> [(left: Int32, right: Int32)] {
        text.withUnsafeBufferPointer { text in
            var parts: [(left: Int32, right: Int32)] = []
            var middle = 0
            while true {
                middle += UTF8Scalar.decode(text, at: middle).length
                guard middle < text.count else { return parts }
                let left = symbol(of: UnsafeBufferPointer(rebasing: text[..<middle]))
                let right = symbol(of: UnsafeBufferPointer(rebasing: text[middle...]))
                if let left, let right { parts.append((left, right)) }
            }
        }
    }

    private mutating func symbol(of text: UnsafeBufferPointer<UInt8>) -> Int32? {
        if let number = table.number(of: text) { return ids[number] }
        let (scalar, length) = UTF8Scalar.decode(text, at: 0)
        guard length == text.count else { return nil }
        if characters[scalar] < 0 {
            characters[scalar] = extra
            extra += 1
        }
        return characters[scalar]
    }
}
