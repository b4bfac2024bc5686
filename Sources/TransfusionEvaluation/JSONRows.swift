import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionData

/// A file with one JSON object a line.
enum JSONRows {
    /// The objects, each with `FILE:LINE`. Lines that hold nothing are passed over.
    /// - Parameters:
    ///   - limit: The longest file that is read, in bytes.
    ///   - example: A line as it should be, for the error message.
    /// - Throws: `CommandFailure` that names file and line; `DataError` when the file cannot be read.
    static func read(
        _ path: String, limit: Int, example: String
    ) throws -> [(members: [String: JSONValue], source: String)] {
        let text = try Files.readText(path, limit: limit)
        let decoder = JSONDecoder()
        var rows: [(members: [String: JSONValue], source: String)] = []
        // Only these end a line: others, as U+2028, may stand in a text.
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
        for (index, line) in lines.enumerated() where !line.allSatisfy(\.isWhitespace) {
            let source = "\(path):\(index + 1)"
            guard let members = try? decoder.decode([String: JSONValue].self, from: Data(line.utf8)) else {
                throw CommandFailure("\(source): is no JSON object; a line is like \(example)")
            }
            rows.append((members, source))
        }
        guard !rows.isEmpty else { throw CommandFailure("\(path): has no rows; a line is like \(example)") }
        return rows
    }
}
