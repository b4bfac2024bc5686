/// The texts of JSONL files with lines `{"text": "…"}`, in the order of the files.
struct TextList {
    let files: [String]
    /// Lines whose text is empty.
    private(set) var emptyTexts = 0

    /// Reads all lines once. Those that cannot be used are added to `bad`.
    init(
        _ files: [String], bad: inout BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        self.files = files
        for file in files {
            try JSONLines.forEach(file) { (line, contents) throws(DataError) in
                do throws(DataError) {
                    if try Self.text(of: line, in: contents).isEmpty { emptyTexts += 1 }
                } catch {
                    bad.add(error)
                }
                progress("checking \(file), line", line.number, 0)
            }
        }
    }

    /// Gives the texts that are not empty.
    /// - Parameter isWanted: Whether the line is wanted that has this number among all lines, from 0.
    func forEach(
        where isWanted: (Int) -> Bool = { _ in true },
        _ body: (_ text: String, _ file: String, _ line: Int) throws(DataError) -> Void
    ) throws(DataError) {
        var index = 0
        for file in files {
            try JSONLines.forEach(file) { (line, contents) throws(DataError) in
                defer { index += 1 }
                // Lines that cannot be used were counted before.
                guard isWanted(index), let text = try? Self.text(of: line, in: contents), !text.isEmpty else { return }
                try body(text, file, line.number)
            }
        }
    }

    private static func text(of line: TextLines.Line, in file: MappedFile) throws(DataError) -> String {
        try JSONLines.texts(["text"], of: line, in: file)[0]
    }
}
