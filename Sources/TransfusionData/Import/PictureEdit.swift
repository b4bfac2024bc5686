internal import TransfusionSupport

/// A picture that is to be changed, as a line of a list of edits names it: `{"source", "instruction", "target"}`.
public struct PictureEdit: Equatable, Sendable {
    /// The picture's path.
    public let source: String
    public let instruction: String
    /// The path of what should come of it; nil where the line names none.
    public let target: String?

    static let keys = ["source", "instruction", "target"]

    public init(source: String, instruction: String, target: String? = nil) {
        self.source = source
        self.instruction = instruction
        self.target = target
    }

    /// The edits of a JSONL file, with paths that are relative to it.
    /// - Throws: `DataError` that names file and line.
    public static func read(_ list: String) throws(DataError) -> [PictureEdit] {
        let folder = Paths.parent(of: list)
        func path(_ name: String) -> String { name.hasPrefix("/") ? name : Paths.join(folder, name) }
        var edits: [PictureEdit] = []
        try JSONLines.forEach(list) { (line, file) throws(DataError) in
            let texts = try JSONLines.texts(Array(keys.prefix(2)), of: line, in: file)
            let target = try? JSONLines.texts([keys[2]], of: line, in: file)[0]
            edits.append(
                PictureEdit(source: path(texts[0]), instruction: texts[1], target: target.map { path($0) }))
        }
        guard !edits.isEmpty else {
            throw DataError(
                list, "names no edit; a line is like {\"source\": \"a.png\", \"instruction\": \"make it blue\"}")
        }
        return edits
    }
}
