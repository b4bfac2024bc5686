/// One JSON object on a line of its own, of which some members are read and the others looked over.
///
/// Data sets are made with Python, so what Python reads is read alike: of equal keys the last counts, and `NaN` and `Infinity`
/// are numbers.
struct JSONLine {
    /// Why a line is not what it should be.
    struct Problem: Error {
        let description: String
    }

    private static let deepest = 500

    private let bytes: UnsafeRawBufferPointer
    private var place = 0

    private init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// The texts under some keys of the object.
    /// - Throws: `Problem` when one is missing or no text, or when the line is no JSON object.
    static func texts(_ keys: [String], in line: UnsafeRawBufferPointer) throws(Problem) -> [String] {
        guard String(validating: line, as: UTF8.self) != nil else { throw Problem(description: "is not UTF-8 text") }
        var reader = JSONLine(line)
        var found: [String: Result<String, Problem>] = [:]
        reader.skipBlanks()
        guard reader.current == UInt8(ascii: "{") else {
            throw Problem(description: "is not a JSON object: it is \(reader.kind)")
        }
        try reader.object(depth: 0) { (reader, key) throws(Problem) in
            guard keys.contains(key) else { return try reader.skipValue(depth: 1) }
            if reader.current == UInt8(ascii: "\"") {
                found[key] = .success(try reader.text())
            } else {
                found[key] = .failure(Problem(description: "\"\(key)\" is \(reader.kind) and not a text"))
                try reader.skipValue(depth: 1)
            }
        }
        reader.skipBlanks()
        guard reader.place == line.count else { throw reader.problem("more follows after it") }
        var texts: [String] = []
        for key in keys {
            guard let result = found[key] else { throw Problem(description: "\"\(key)\" is missing") }
            texts.append(try result.get())
        }
        return texts
    }

    private var current: UInt8? { place < bytes.count ? bytes[place] : nil }

    /// What begins here, in words.
    private var kind: String {
        let rest = bytes[place...]
        return switch current {
        case UInt8(ascii: "{"): "an object"
        case UInt8(ascii: "["): "a list"
        case UInt8(ascii: "\""): "a text"
        case _ where rest.starts(with: "true".utf8) || rest.starts(with: "false".utf8): "true or false"
        case _ where rest.starts(with: "null".utf8): "null"
        case let byte? where "-0123456789".utf8.contains(byte): "a number"
        default: "no JSON"
        }
    }

    private func problem(_ what: String) -> Problem {
        Problem(description: "is not a JSON object: \(what) at byte \(place + 1)")
    }

    private mutating func skipBlanks() {
        while let byte = current, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { place += 1 }
    }

    /// Passes over one character, and the blanks before it.
    private mutating func take(_ character: Unicode.Scalar) throws(Problem) {
        skipBlanks()
        guard current == UInt8(ascii: character) else { throw problem("\"\(character)\" is missing") }
        place += 1
    }

    /// Passes over the character if it is the next one.
    private mutating func takes(_ character: Unicode.Scalar) -> Bool {
        skipBlanks()
        guard current == UInt8(ascii: character) else { return false }
        place += 1
        return true
    }

    /// Gives each key, standing at its value, which `value` has to pass over.
    private mutating func object(
        depth: Int, value: (inout JSONLine, String) throws(Problem) -> Void
    ) throws(Problem) {
        try take("{")
        if takes("}") { return }
        repeat {
            skipBlanks()
            let key = try text()
            try take(":")
            skipBlanks()
            try value(&self, key)
        } while takes(",")
        try take("}")
    }

    private mutating func skipValue(depth: Int) throws(Problem) {
        guard depth < Self.deepest else { throw problem("it is nested too deeply") }
        skipBlanks()
        switch current {
        case UInt8(ascii: "{"):
            try object(depth: depth) { (reader, _) throws(Problem) in try reader.skipValue(depth: depth + 1) }
        case UInt8(ascii: "["):
            place += 1
            if takes("]") { return }
            repeat { try skipValue(depth: depth + 1) } while takes(",")
            try take("]")
        case UInt8(ascii: "\""): _ = try text()
        default: try skipWord()
        }
    }

    /// A number, `true`, `false` or `null`.
    private mutating func skipWord() throws(Problem) {
        let start = place
        while let byte = current, !Array(",]} \t\r\n".utf8).contains(byte) { place += 1 }
        let word = String(decoding: bytes[start..<place], as: UTF8.self)
        let isNumber = word.utf8.allSatisfy { Array("0123456789+-.eE".utf8).contains($0) } && Double(word) != nil
        guard isNumber || ["true", "false", "null", "NaN", "Infinity", "-Infinity"].contains(word) else {
            place = start
            throw problem("no value")
        }
    }

    private mutating func text() throws(Problem) -> String {
        try take("\"")
        var text = ""
        while true {
            let start = place
            var end = start
            while end < bytes.count, bytes[end] >= 0x20, bytes[end] != UInt8(ascii: "\""),
                bytes[end] != UInt8(ascii: "\\")
            {
                end += 1
            }
            place = end
            let part = String(decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<end]), as: UTF8.self)
            guard let byte = current, byte >= 0x20 else {
                throw problem(current == nil ? "a text has no end" : "a control character in a text")
            }
            place += 1
            if byte == UInt8(ascii: "\"") { return text.isEmpty ? part : text + part }
            text += part
            text.unicodeScalars.append(try escaped())
        }
    }

    /// What a backslash, which was passed, stands for.
    private mutating func escaped() throws(Problem) -> Unicode.Scalar {
        let letter = current.map { Unicode.Scalar($0) }
        let plain: [Unicode.Scalar: Unicode.Scalar] = [
            "\"": "\"", "\\": "\\", "/": "/", "b": "\u{8}", "f": "\u{C}", "n": "\n", "r": "\r", "t": "\t",
        ]
        if let letter, let scalar = plain[letter] {
            place += 1
            return scalar
        }
        guard letter == "u" else { throw problem("an unknown escape") }
        let unit = try unit()
        if let scalar = Unicode.Scalar(unit) { return scalar }
        // Above U+FFFF a character is written as two halves.
        guard UTF16.isLeadSurrogate(unit), current == UInt8(ascii: "\\") else {
            throw problem("half a character (\\u)")
        }
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
        let digits = String(decoding: bytes[place + 1..<place + 5], as: UTF8.self)
        guard digits.allSatisfy(\.isHexDigit), let unit = UInt16(digits, radix: 16) else {
            throw problem("\\u without four hexadecimal digits")
        }
        place += 5
        return unit
    }
}
