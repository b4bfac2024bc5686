/// A file with one JSON object a line.
enum JSONLines {
    /// Gives each line that is not empty.
    static func forEach(
        _ path: String, _ body: (TextLines.Line, MappedFile) throws(DataError) -> Void
    ) throws(DataError) {
        let file = try MappedFile(path)
        defer { withExtendedLifetime(file) {} }
        for line in TextLines(file.bytes) where file.bytes[line.range].contains(where: { $0 > 32 }) {
            try body(line, file)
        }
    }

    /// The texts under some keys of a line's object.
    /// - Throws: `DataError` that names file and line when it has not all of them.
    static func texts(
        _ keys: [String], of line: TextLines.Line, in file: MappedFile
    ) throws(DataError) -> [String] {
        do throws(JSONLine.Problem) {
            return try JSONLine.texts(keys, in: UnsafeRawBufferPointer(rebasing: file.bytes[line.range]))
        } catch {
            throw DataError("\(file.path):\(line.number)", error.description)
        }
    }
}
