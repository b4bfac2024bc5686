/// Reads JSON value by value, without building what is not asked for.
///
/// Files are made with Python, so what Python reads is read alike: of equal keys the last counts, and `NaN` and `Infinity` are
/// numbers. The bytes have to be valid UTF-8.
struct JSONReader {
    /// Why bytes are not the JSON that they should be.
    struct Problem: Error {
        let description: String
    }

    private static let deepest = 500
    private static let quote = UInt8(ascii: "\"")
    private static let backslash = UInt8(ascii: "\\")

    private let bytes: UnsafeRawBufferPointer
    private(set) var place = 0
    private var depth = 0

    /// - Parameter bytes: Must stay valid as long as the reader is used.
    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    private var current: UInt8? { place < bytes.count ? bytes[place] : nil }

    func problem(_ what: String) -> Problem {
        Problem(description: "\(what) at byte \(place + 1)")
    }

    /// What begins here, in words.
    var kind: String {
        let rest = bytes[place...]
        return switch current {
        case UInt8(ascii: "{"): "an object"
        case UInt8(ascii: "["): "a list"
        case Self.quote: "a text"
        case _ where rest.starts(with: "true".utf8) || rest.starts(with: "false".utf8): "true or false"
        case _ where rest.starts(with: "null".utf8): "null"
        case let byte? where "-0123456789".utf8.contains(byte): "a number"
        default: "no JSON"
        }
    }

    /// Whether this character comes next, after blanks.
    mutating func isNext(_ character: Unicode.Scalar) -> Bool {
        skipBlanks()
        return current == UInt8(ascii: character)
    }

    /// Refuses what follows the value.
    mutating func end() throws(Problem) {
        skipBlanks()
        guard place == bytes.count else { throw problem("more follows after it") }
    }

    mutating func skipBlanks() {
        while let byte = current, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { place += 1 }
    }

    /// Passes over one character, and the blanks before it.
    private mutating func take(_ character: Unicode.Scalar) throws(Problem) {
        guard takes(character) else { throw problem("\"\(character)\" is missing") }
    }

    /// Passes over the character if it is the next one.
    private mutating func takes(_ character: Unicode.Scalar) -> Bool {
        guard isNext(character) else { return false }
        place += 1
        return true
    }

    private mutating func enter() throws(Problem) {
        guard depth < Self.deepest else { throw problem("it is nested too deeply") }
        depth += 1
    }

    /// Gives each key, standing at its value, which `member` has to pass over.
    mutating func object(_ member: (inout JSONReader, String) throws(Problem) -> Void) throws(Problem) {
        try take("{")
        try enter()
        defer { depth -= 1 }
        if takes("}") { return }
        repeat {
            let key = try text()
            try take(":")
            skipBlanks()
            try member(&self, key)
        } while takes(",")
        try take("}")
    }

    /// Stands at each element, which `element` has to pass over.
    mutating func list(_ element: (inout JSONReader) throws(Problem) -> Void) throws(Problem) {
        try take("[")
        try enter()
        defer { depth -= 1 }
        if takes("]") { return }
        repeat {
            skipBlanks()
            try element(&self)
        } while takes(",")
        try take("]")
    }

    mutating func skip() throws(Problem) {
        skipBlanks()
        switch current {
        case UInt8(ascii: "{"): try object { (reader, _) throws(Problem) in try reader.skip() }
        case UInt8(ascii: "["): try list { (reader) throws(Problem) in try reader.skip() }
        case Self.quote: try skipText()
        default: _ = try word()
        }
    }

    /// A number, `true`, `false` or `null` as it is written.
    mutating func word() throws(Problem) -> String {
        skipBlanks()
        let start = place
        while let byte = current, !Self.endsWord(byte) { place += 1 }
        let word = String(decoding: bytes[start..<place], as: UTF8.self)
        let isNumber = word.utf8.allSatisfy { "0123456789+-.eE".utf8.contains($0) } && Double(word) != nil
        guard isNumber || ["true", "false", "null", "NaN", "Infinity", "-Infinity"].contains(word) else {
            place = start
            throw problem("no value")
        }
        return word
    }

    private static func endsWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"), 0x20, 0x09, 0x0A, 0x0D: true
        default: false
        }
    }

    mutating func text() throws(Problem) -> String {
        var buffer: [UInt8] = []
        try text(into: &buffer)
        return String(decoding: buffer, as: UTF8.self)
    }

    /// Puts a text's UTF-8 into `buffer`, in place of what was there.
    mutating func text(into buffer: inout [UInt8]) throws(Problem) {
        buffer.removeAll(keepingCapacity: true)
        try take("\"")
        while true {
            let start = place
            var end = start
            while end < bytes.count, bytes[end] >= 0x20, bytes[end] != Self.quote, bytes[end] != Self.backslash {
                end += 1
            }
            place = end
            buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
            guard let byte = current, byte >= 0x20 else {
                throw problem(current == nil ? "a text has no end" : "a control character in a text")
            }
            place += 1
            if byte == Self.quote { return }
            try escaped(into: &buffer)
        }
    }

    private mutating func skipText() throws(Problem) {
        // What is not wanted is checked like the rest.
        var buffer: [UInt8] = []
        try text(into: &buffer)
    }

    /// What a backslash, which was passed, stands for.
    private mutating func escaped(into buffer: inout [UInt8]) throws(Problem) {
        let plain: UInt8? =
            switch current {
            case Self.quote: Self.quote
            case Self.backslash: Self.backslash
            case UInt8(ascii: "/"): UInt8(ascii: "/")
            case UInt8(ascii: "b"): 0x08
            case UInt8(ascii: "f"): 0x0C
            case UInt8(ascii: "n"): 0x0A
            case UInt8(ascii: "r"): 0x0D
            case UInt8(ascii: "t"): 0x09
            default: nil
            }
        if let plain {
            place += 1
            buffer.append(plain)
            return
        }
        guard current == UInt8(ascii: "u") else { throw problem("an unknown escape") }
        buffer.append(contentsOf: UTF8.encode(try scalar()) ?? UTF8.encodedReplacementCharacter)
    }

    /// The character in `uXXXX`, or in two such halves.
    private mutating func scalar() throws(Problem) -> Unicode.Scalar {
        let unit = try unit()
        if let scalar = Unicode.Scalar(unit) { return scalar }
        // Above U+FFFF a character is written as two halves.
        guard UTF16.isLeadSurrogate(unit), current == Self.backslash else { throw problem("half a character (\\u)") }
        place += 1
        let low = try self.unit()
        guard UTF16.isTrailSurrogate(low),
            let scalar = Unicode.Scalar(0x10000 + ((UInt32(unit) & 0x3FF) << 10) + (UInt32(low) & 0x3FF))
        else { throw problem("half a character (\\u)") }
        return scalar
    }

    /// The number in `uXXXX`.
    private mutating func unit() throws(Problem) -> UInt16 {
        guard place + 5 <= bytes.count, current == UInt8(ascii: "u") else { throw problem("half a character (\\u)") }
        var unit: UInt16 = 0
        for byte in bytes[place + 1..<place + 5] {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: throw problem("\\u without four hexadecimal digits")
            }
            unit = unit << 4 | UInt16(digit)
        }
        place += 5
        return unit
    }
}
