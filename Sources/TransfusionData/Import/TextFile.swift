internal import TransfusionSupport

/// What of a plain text file is one document.
public enum TextDocuments: String, Sendable, CaseIterable {
    case file
    case line
    /// Lines up to one without a letter.
    case paragraph
}

/// A file of texts, as it was given or found in a folder.
struct TextFile: Equatable, Sendable {
    enum Form: Equatable, Sendable {
        /// An object on each line, with its text under a key.
        case jsonLines(key: String)
        case plain(TextDocuments)
        /// Its text in a column.
        case parquet(column: String)
        /// Ids of the given tokenizer instead of text, as Megatron-LM stores them.
        case tokens(TokenMarkers)

        /// How the names of such files in a folder end.
        fileprivate var endings: [String] {
            switch self {
            case .jsonLines: [".jsonl", ".json"].flatMap { [$0, $0 + ".gz", $0 + ".zst"] }
            case .plain: [".txt", ".txt.gz", ".txt.zst"]
            case .parquet: [".parquet"]
            case .tokens: [".idx"]
            }
        }
    }

    /// What ids can be, and those that stand around a text.
    struct TokenMarkers: Equatable, Sendable {
        let vocabulary: Int
        let beginOfText: Int32
        let endOfText: Int32
    }

    /// What texts are called where nobody says otherwise.
    static let usualKey = "text"

    let path: String
    let form: Form

    /// All files that belong to it.
    var paths: [String] {
        if case .tokens = form { return MegatronFile.paths(of: path) }
        return [path]
    }

    /// The files of some paths. Of a folder, those in it and in folders below it with the right endings, in the order of their
    /// paths.
    static func list(_ paths: [String], _ form: Form) throws(DataError) -> [TextFile] {
        var files: [TextFile] = []
        for path in paths {
            guard Files.isDirectory(path) else {
                files.append(TextFile(path: path, form: form))
                continue
            }
            let found = search(Paths.withoutTrailingSlash(path), form.endings)
            guard !found.isEmpty else {
                throw DataError(path, "holds no file that ends in \(form.endings.joined(separator: ", "))")
            }
            files += found.map { TextFile(path: $0, form: form) }
        }
        return files
    }

    private static func search(_ directory: String, _ endings: [String]) -> [String] {
        var found: [String] = []
        for (name, kind) in Files.entries(in: directory) where !name.hasPrefix(".") {
            let path = directory + "/" + name
            if kind == .directory {
                found += search(path, endings)
            } else if endings.contains(where: { name.hasSuffix($0) }) {
                found.append(path)
            }
        }
        return found.sorted()
    }
}
