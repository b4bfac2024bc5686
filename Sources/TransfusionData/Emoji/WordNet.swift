/// The words and definitions of WordNet's data files.
enum WordNet {
    static let defaultDirectory = "/usr/share/wordnet"

    /// One text for each set of synonyms: `owl, bird of Minerva: nocturnal bird of prey …`.
    static func texts(_ directory: String = defaultDirectory) throws(DataError) -> [String] {
        var texts: [String] = []
        for name in ["data.noun", "data.verb", "data.adj", "data.adv"] {
            let path = directory + "/" + name
            guard Files.exists(path) else { throw DataError(path, "is missing; install the package wordnet-base") }
            let lines = try Files.readText(path, limit: 1 << 28).split(separator: "\n")
            let before = texts.count
            // The licence at the top is indented.
            for line in lines where !line.hasPrefix("  ") {
                if let text = text(of: line) { texts.append(text) }
            }
            guard texts.count > before else {
                throw DataError(path, "holds no definitions; it must be WordNet's data file")
            }
        }
        return texts
    }

    /// `offset file type count word id word id … | gloss`, the count in hexadecimal.
    static func text(of line: Substring) -> String? {
        let halves = line.split(separator: "|", maxSplits: 1)
        guard halves.count == 2 else { return nil }
        let fields = halves[0].split(separator: " ")
        guard fields.count > 4, let count = Int(fields[3], radix: 16), count > 0, fields.count >= 4 + 2 * count else {
            return nil
        }
        let words = (0..<count).map { index -> String in
            // Adjectives may carry a marker such as (p).
            let word = fields[4 + 2 * index].prefix { $0 != "(" }
            return String(word.map { $0 == "_" ? " " : $0 })
        }
        let gloss = halves[1].trimmingPrefix(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed()
        guard !gloss.isEmpty else { return nil }
        return words.joined(separator: ", ") + ": " + String(gloss)
    }
}
