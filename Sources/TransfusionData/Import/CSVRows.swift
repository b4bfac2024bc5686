internal import Glibc

/// The rows of a CSV file as RFC 4180 has them: fields between commas, a row a line, and fields in quotes that may hold commas, ends
/// of lines and doubled quotes.
struct CSVRows {
    struct Row {
        /// Of its first line, counted from 1.
        let line: Int
        let fields: [String]
    }

    /// A longer field is taken for one whose quote nobody closed.
    static let longestField = 1 << 20

    private let bytes: UnsafeRawBufferPointer
    private let name: String
    private var place: Int
    private var line = 1

    /// - Parameters:
    ///   - bytes: The file's contents, which must stay valid as long as rows are asked for.
    ///   - name: What errors call it.
    init(_ bytes: UnsafeRawBufferPointer, name: String) {
        self.bytes = bytes
        self.name = name
        place = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    }

    private static let quote = UInt8(ascii: "\"")

    private static func endsField(_ byte: UInt8) -> Bool { byte == UInt8(ascii: ",") || byte == 0x0A || byte == 0x0D }

    /// Empty lines are passed over.
    /// - Returns: Nil at the end.
    /// - Throws: `DataError` with the line of a row that is none; the next call goes on behind it.
    mutating func next() throws(DataError) -> Row? {
        while place < bytes.count, bytes[place] == 0x0A || bytes[place] == 0x0D { endLine() }
        guard place < bytes.count else { return nil }
        let start = line
        var fields: [String] = []
        do throws(DataError) {
            while true {
                fields.append(try field(rowStart: start))
                guard place < bytes.count, bytes[place] == UInt8(ascii: ",") else { break }
                place += 1
            }
        } catch {
            skipLine()
            throw error
        }
        if place < bytes.count { endLine() }
        return Row(line: start, fields: fields)
    }

    /// Passes over one end of a line: `\n`, `\r\n` or `\r`.
    private mutating func endLine() {
        if bytes[place] == 0x0D, place + 1 < bytes.count, bytes[place + 1] == 0x0A { place += 1 }
        place += 1
        line += 1
    }

    private mutating func skipLine() {
        while place < bytes.count, bytes[place] != 0x0A { place += 1 }
        if place < bytes.count { endLine() }
    }

    private mutating func field(rowStart: Int) throws(DataError) -> String {
        var contents: [UInt8] = []
        if place < bytes.count, bytes[place] == Self.quote {
            contents = try quoted(rowStart: rowStart)
        } else {
            let start = place
            while place < bytes.count, !Self.endsField(bytes[place]), bytes[place] != Self.quote { place += 1 }
            guard place == bytes.count || bytes[place] != Self.quote else {
                throw problem(rowStart, "a quote inside of a field that does not begin with one")
            }
            guard place - start <= Self.longestField else { throw problem(rowStart, Self.tooLong) }
            contents = [UInt8](bytes[start..<place])
        }
        guard let text = String(validating: contents, as: UTF8.self) else {
            throw problem(rowStart, "a field is not UTF-8 text")
        }
        return text
    }

    private static let tooLong = "a field of more than \(longestField) bytes; is a quote not closed?"

    private mutating func quoted(rowStart: Int) throws(DataError) -> [UInt8] {
        var contents: [UInt8] = []
        let opening = (place, line)
        place += 1
        while true {
            let start = place
            while place < bytes.count, bytes[place] != Self.quote, place - start <= Self.longestField {
                if bytes[place] == 0x0A { line += 1 }
                place += 1
            }
            contents.append(contentsOf: bytes[start..<place])
            guard contents.count <= Self.longestField, place < bytes.count else {
                // What follows is looked at as rows again.
                let isOpen = place == bytes.count
                (place, line) = opening
                throw problem(rowStart, isOpen ? "a quote is not closed" : Self.tooLong)
            }
            place += 1
            guard place < bytes.count, bytes[place] == Self.quote else { break }
            contents.append(Self.quote)
            place += 1
        }
        guard place == bytes.count || Self.endsField(bytes[place]) else {
            throw problem(rowStart, "a quote closes before the end of its field")
        }
        return contents
    }

    private func problem(_ line: Int, _ what: String) -> DataError {
        DataError("\(name):\(line)", what)
    }
}
