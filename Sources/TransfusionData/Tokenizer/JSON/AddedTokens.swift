/// The tokens that are found in text as a whole, before it is cut into words: the longest at the leftmost place.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        let id: Int32
        let isSpecial: Bool
        let isSingleWord: Bool
        let takesSpaceBefore: Bool
        let takesSpaceAfter: Bool
    }

    enum Part {
        case token(Int32)
        case text(Range<Int>)
    }

    private struct Edge: Hashable, Sendable {
        let node: Int32
        let byte: UInt8
    }

    private var edges: [Edge: Int32] = [:]
    /// The token that ends at each node.
    private var ends: [Int32?] = [nil]
    private var starts = [Bool](repeating: false, count: 256)
    private var tokens: [Token] = []
    /// Whether text without special tokens can hold one of these.
    private(set) var hasOrdinary = false

    var isEmpty: Bool { tokens.isEmpty }

    mutating func add(_ token: Token, content: [UInt8]) {
        guard let first = content.first else { return }
        starts[Int(first)] = true
        var node: Int32 = 0
        for byte in content {
            let edge = Edge(node: node, byte: byte)
            if let next = edges[edge] {
                node = next
            } else {
                ends.append(nil)
                node = Int32(ends.count - 1)
                edges[edge] = node
            }
        }
        ends[Int(node)] = Int32(tokens.count)
        tokens.append(token)
        if !token.isSpecial { hasOrdinary = true }
    }

    /// The parts of a text, in their order.
    /// - Parameters:
    ///   - parsesSpecials: Whether special tokens are found. Those that are not still keep others from being found in them.
    ///   - spaceIsText: The text's spaces stand for U+2581, which is no space that tokens take along.
    func parts(
        of text: UnsafeBufferPointer<UInt8>, parsesSpecials: Bool, spaceIsText: Bool, _ body: (Part) -> Void
    ) {
        var begin = 0
        var place = 0
        while place < text.count {
            guard starts[Int(text[place])], let (token, end) = longest(text, at: place) else {
                place += 1
                continue
            }
            let start = place
            place = end
            if token.isSpecial && !parsesSpecials { continue }
            if token.isSingleWord, Self.isWord(text, before: start) || Self.isWord(text, at: end) { continue }
            var range = start..<end
            if token.takesSpaceBefore, !spaceIsText || text[..<start].last != 0x20 {
                range = max(begin, Self.spaceStart(text, before: start))..<range.upperBound
            }
            if token.takesSpaceAfter {
                range = range.lowerBound..<Self.spaceEnd(text, from: end, spaceIsText: spaceIsText)
            }
            if begin < range.lowerBound { body(.text(begin..<range.lowerBound)) }
            body(.token(token.id))
            begin = range.upperBound
        }
        if begin < text.count { body(.text(begin..<text.count)) }
    }

    private func longest(_ text: UnsafeBufferPointer<UInt8>, at start: Int) -> (token: Token, end: Int)? {
        var node: Int32 = 0
        var place = start
        var found: (token: Token, end: Int)?
        while place < text.count, let next = edges[Edge(node: node, byte: text[place])] {
            node = next
            place += 1
            if let token = ends[Int(node)] { found = (tokens[Int(token)], place) }
        }
        return found
    }

    // MARK: Characters around a token

    /// `\w`
    private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        let properties = scalar.properties
        if properties.isAlphabetic || properties.isJoinControl { return true }
        switch properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
        default: return false
        }
    }

    private static func scalar(_ text: UnsafeBufferPointer<UInt8>, at place: Int) -> Unicode.Scalar {
        Unicode.Scalar(UInt32(UTF8Scalar.decode(text, at: place).scalar)) ?? "\u{FFFD}"
    }

    private static func scalarStart(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
        var start = end - 1
        while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
        return start
    }

    private static func isWord(_ text: UnsafeBufferPointer<UInt8>, at place: Int) -> Bool {
        place < text.count && isWord(scalar(text, at: place))
    }

    private static func isWord(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> Bool {
        end > 0 && isWord(scalar(text, at: scalarStart(text, before: end)))
    }

    private static func spaceStart(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
        var end = end
        while end > 0 {
            let start = scalarStart(text, before: end)
            guard scalar(text, at: start).properties.isWhitespace else { break }
            end = start
        }
        return end
    }

    private static func spaceEnd(_ text: UnsafeBufferPointer<UInt8>, from start: Int, spaceIsText: Bool) -> Int {
        var place = start
        while place < text.count, scalar(text, at: place).properties.isWhitespace,
            !spaceIsText || text[place] != 0x20
        {
            place += UTF8Scalar.decode(text, at: place).length
        }
        return place
    }
}
