/// The tokens of a `tokenizer.json` by their ids, and those with a meaning of their own.
struct TokenTable {
    /// The text of each id; empty for one that has none.
    private(set) var tokens: [[UInt8]]
    private(set) var specials: Set<Int32> = []
    private var ids: [[UInt8]: Int32] = [:]

    private static let beginsOfText = ["<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>"]
    private static let endsOfText = ["</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>", "<|im_end|>"]
    /// Tokens that are meant for images, or for nothing yet.
    private static let imageMarkers = [
        (Tokenizer.beginOfImageText, Tokenizer.endOfImageText), ("<|vision_start|>", "<|vision_end|>"),
        ("<|image start|>", "<|image end|>"), ("<start_of_image>", "<end_of_image>"),
    ]

    init(_ description: TokenizerDescription) throws(TokenizerDescription.Refusal) {
        let last = max(
            description.vocabulary.map(\.id).max() ?? 0, description.addedTokens.map(\.id).max() ?? 0)
        tokens = [[UInt8]](repeating: [], count: Int(last) + 1)
        for (text, id) in description.vocabulary {
            guard tokens[Int(id)].isEmpty else {
                throw .init("its vocabulary has two tokens with the id \(id); the file is damaged")
            }
            tokens[Int(id)] = text
            if text.first == UInt8(ascii: "<") { ids[text] = id }
        }
        for token in description.addedTokens {
            guard tokens[Int(token.id)].isEmpty || tokens[Int(token.id)] == token.content else {
                throw .init(
                    "added_tokens: the id \(token.id) of \(String(decoding: token.content, as: UTF8.self)) is that of"
                        + " another token; the file is damaged")
            }
            tokens[Int(token.id)] = token.content
            ids[token.content] = token.id
            if token.isSpecial { specials.insert(token.id) }
        }
    }

    private func id(_ name: String) -> Int32? { ids[[UInt8](name.utf8)] }

    /// The tokens that begin and end a text: those of the template, else those that are known by their names. A file with one
    /// token for both uses it for both.
    func textMarkers(
        _ description: TokenizerDescription
    ) throws(TokenizerDescription.Refusal) -> (begin: Int32, end: Int32) {
        let begin = description.tokenBeforeText.flatMap { ids[$0] } ?? Self.beginsOfText.lazy.compactMap(id).first
        let end = description.tokenBehindText.flatMap { ids[$0] } ?? Self.endsOfText.lazy.compactMap(id).first
        guard let end = end ?? begin else {
            throw .init(
                "it has no token that ends a text, such as \(Self.endsOfText.prefix(3).joined(separator: ", ")); add one"
                    + " to its added_tokens")
        }
        return (begin ?? end, end)
    }

    /// The tokens around an image: a pair that is meant for it, else the first two that are reserved, else two new ones.
    mutating func takeImageMarkers() -> (begin: Int32, end: Int32) {
        for (begin, end) in Self.imageMarkers {
            if let begin = id(begin), let end = id(end), begin != end { return (begin, end) }
        }
        let reserved = (0..<2).compactMap { id("<|reserved_special_token_\($0)|>") }
        if reserved.count == 2 { return (reserved[0], reserved[1]) }
        tokens.append([UInt8](Tokenizer.beginOfImageText.utf8))
        tokens.append([UInt8](Tokenizer.endOfImageText.utf8))
        return (Int32(tokens.count - 2), Int32(tokens.count - 1))
    }
}
