/// Turns tokens into text while they come, and finds the stop texts in it.
///
/// Text is held back while it may still change: as long as a character lacks bytes, or a stop text may have begun.
struct TextStream {
    private let decode: ([Int32]) throws -> String
    private let stops: [String]
    /// The last tokens, of which those before `read` are only there so that spaces come out right.
    private var window: [Int32]
    private var read: Int
    private var heldBack = ""
    /// Whether a stop text has come; what follows does not count.
    private(set) var isStopped = false

    /// Tokens of the prompt that the decoder sees before the first new one.
    private static let before = 8

    /// - Parameter prompt: The tokens before the first that is added.
    init(after prompt: [Int32], stops: [String], decode: @escaping ([Int32]) throws -> String) {
        self.decode = decode
        self.stops = stops
        window = Array(prompt.suffix(Self.before))
        read = window.count
    }

    /// - Returns: What the text has become longer by, as far as that is certain.
    mutating func add(_ token: Int32) throws -> String {
        window.append(token)
        let whole = try decode(window), known = try decode(Array(window[..<read]))
        // A character whose last bytes are still to come.
        if whole.unicodeScalars.last == "\u{FFFD}", window.count - read < 4 { return "" }
        let new = whole.hasPrefix(known) ? String(whole.unicodeScalars.dropFirst(known.unicodeScalars.count)) : whole
        window.removeFirst(read)
        read = window.count
        return take(new)
    }

    /// The part of `text` before the first stop text in it.
    static func cut(_ text: String, before stops: [String]) -> String {
        let ends = stops.compactMap { text.firstRange(of: $0)?.lowerBound }
        return ends.min().map { String(text[..<$0]) } ?? text
    }

    private mutating func take(_ new: String) -> String {
        heldBack += new
        let cut = Self.cut(heldBack, before: stops)
        guard cut == heldBack else {
            isStopped = true
            heldBack = ""
            return cut
        }
        // The longest end that a stop text begins with waits for what follows.
        let waiting = heldBack.indices.first { start in stops.contains { $0.hasPrefix(heldBack[start...]) } }
        let certain = String(heldBack[..<(waiting ?? heldBack.endIndex)])
        heldBack.removeFirst(certain.count)
        return certain
    }
}
