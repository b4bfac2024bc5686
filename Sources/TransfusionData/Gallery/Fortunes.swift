/// The sayings of Debian's fortunes that are prose.
enum Fortunes {
    static let defaultDirectory = "/usr/share/games/fortunes"

    private static let topics = [
        "art", "education", "food", "humorists", "law", "literature", "medicine", "news", "people", "pets",
        "platitudes",
        "science", "sports", "wisdom", "work",
    ]

    /// One text each; none of a topic that is not installed.
    static func texts(_ directory: String = defaultDirectory) throws(DataError) -> [String] {
        var texts: [String] = []
        for topic in topics where Files.exists(directory + "/" + topic) {
            let text = try Files.readText(directory + "/" + topic, limit: 1 << 26)
            // Sayings stand between lines that hold a percent sign.
            for saying in ("\n" + text).split(separator: "\n%") {
                let words = saying.split { $0.isWhitespace }
                if words.count > 2 { texts.append(words.joined(separator: " ")) }
            }
        }
        return texts
    }
}
