/// The emoji of Unicode's `emoji-test.txt`, with their names.
struct EmojiList {
    static let defaultPath = "/usr/share/unicode/emoji/emoji-test.txt"

    struct Emoji {
        let scalars: [UInt32]
        let name: String
        let group: String
        let subgroup: String

        var key: String { scalars.map { String($0, radix: 16, uppercase: true) }.joined(separator: " ") }
        var hasSkinTone: Bool { scalars.contains { Self.skinTones.contains($0) } }
        static let skinTones: ClosedRange<UInt32> = 0x1F3FB...0x1F3FF
    }

    /// The fully qualified emoji, in the order of the file.
    let emoji: [Emoji]
    private let byScalars: [[UInt32]: Int]
    private let byName: [String: Int]

    init(_ path: String = defaultPath) throws(DataError) {
        guard Files.exists(path) else { throw DataError(path, "is missing; install the package unicode-data") }
        try self.init(text: try Files.readText(path, limit: 1 << 26), name: path)
    }

    /// - Parameter name: What errors call the text.
    init(text: String, name: String) throws(DataError) {
        var emoji: [Emoji] = []
        var group = ""
        var subgroup = ""
        for line in text.split(whereSeparator: \.isNewline) {
            if line.hasPrefix("# group: ") { group = String(line.dropFirst(9)) }
            if line.hasPrefix("# subgroup: ") { subgroup = String(line.dropFirst(12)) }
            // code points ; status # emoji Eversion name
            let fields = line.split(separator: ";", maxSplits: 1)
            guard fields.count == 2, !line.hasPrefix("#"),
                fields[1].trimmingPrefix(while: \.isWhitespace).hasPrefix("fully-qualified")
            else { continue }
            let scalars = fields[0].split(separator: " ").map { UInt32($0, radix: 16) }
            let comment = fields[1].split(separator: "#", maxSplits: 1).last?.split(separator: " ", maxSplits: 2) ?? []
            guard comment.count == 3, !scalars.isEmpty, !scalars.contains(nil) else {
                throw DataError(name, "cannot be understood: \(line)")
            }
            emoji.append(
                Emoji(
                    scalars: scalars.compactMap { $0 }, name: String(comment[2]), group: group, subgroup: subgroup))
        }
        guard !emoji.isEmpty else { throw DataError(name, "lists no emoji; it must be Unicode's emoji-test.txt") }
        self.emoji = emoji
        let indexed = Array(zip(emoji, 0...))
        byScalars = Dictionary(indexed.map { (Self.withoutVariations($0.scalars), $1) }) { first, _ in first }
        byName = Dictionary(indexed.map { ($0.name, $1) }) { first, _ in first }
    }

    /// The emoji that one with skin tones is a variant of.
    func base(of variant: Emoji) -> Int? {
        if let index = byScalars[Self.withoutVariations(variant.scalars)], !emoji[index].hasSkinTone { return index }
        // Couples with two tones are longer sequences than their base, but are named after it.
        guard let colon = variant.name.firstIndex(of: ":") else { return nil }
        let persons = variant.name[variant.name.index(after: colon)...].split(separator: ",")
            .map { $0.trimmingPrefix(while: \.isWhitespace) }.filter { !$0.hasSuffix("skin tone") }
        let stem = String(variant.name[..<colon])
        let full = persons.isEmpty ? stem : stem + ": " + persons.joined(separator: ", ")
        return byName[full] ?? byName[stem]
    }

    private static func withoutVariations(_ scalars: [UInt32]) -> [UInt32] {
        scalars.filter { $0 != 0xFE0F && !Emoji.skinTones.contains($0) }
    }
}
