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
        var start = 0
        var number = 0
        while start < file.bytes.count {
            let rest = file.bytes[start...]
            let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? file.bytes.count
            number += 1
            let line = file.bytes[start..<end]
            start = end + 1
            guard line.contains(where: { $0 > 32 }) else { continue }
            let value: Value
            do {
                value = try decoder.decode(type, from: Data(line))
            } catch DecodingError.keyNotFound(let key, _) {
                throw DataError("\(path):\(number)", "\"\(key.stringValue)\" is missing")
            } catch {
                throw DataError("\(path):\(number)", "is not a JSON object of the expected form")
            }
            try body(number, value)
        }
    }
}
