internal import Foundation

/// A file with one JSON object a line.
enum JSONLines {
    /// Gives each line's value with its number from 1; empty lines are passed over.
    /// - Throws: `DataError` that names file and line when a line is not such an object.
    static func forEach<Value: Decodable>(
        _ path: String, as type: Value.Type, _ body: (Int, Value) throws(DataError) -> Void
    ) throws(DataError) {
        let file = try MappedFile(path)
        let decoder = JSONDecoder()
        for line in TextLines(file.bytes) {
            guard file.bytes[line.range].contains(where: { $0 > 32 }) else { continue }
            try body(line.number, try value(of: line, in: file, as: type, decoder))
        }
    }

    static func value<Value: Decodable>(
        of line: TextLines.Line, in file: MappedFile, as type: Value.Type, _ decoder: JSONDecoder
    ) throws(DataError) -> Value {
        do {
            return try decoder.decode(type, from: Data(file.bytes[line.range]))
        } catch DecodingError.keyNotFound(let key, _) {
            throw DataError("\(file.path):\(line.number)", "\"\(key.stringValue)\" is missing")
        } catch {
            throw DataError("\(file.path):\(line.number)", "is not a JSON object of the expected form")
        }
    }
}
