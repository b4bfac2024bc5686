/// Puts the texts of tokens together to a text, step by step as the file says.
struct TokenDecoder: Sendable {
    enum Step: Equatable, Sendable {
        /// Letters that stand for bytes are turned into these.
        case bytes
        case replace([UInt8], by: [UInt8])
        /// Runs of tokens such as `<0xC3>` are turned into the bytes that they name.
        case byteTokens
        case join
        /// At most so many spaces before a token are left out.
        case stripSpaces(Int)
        /// U+2581 is a space, but not in the first token when `dropsFirst`.
        case metaspace(dropsFirst: Bool)
    }

    private static let replacement = [UInt8]("\u{FFFD}".utf8)
    private static let spaceSign = [UInt8](Normalizer.spaceSign.utf8)

    let steps: [Step]

    static func steps(_ tree: JSONTree?) throws(TokenizerDescription.Refusal) -> [Step] {
        guard let tree, !tree.isNull else {
            throw .init("it has no decoder, and so no way from tokens back to text")
        }
        switch tree.type {
        case "Sequence":
            var all: [Step] = []
            for part in tree["decoders"]?.list ?? [] { all += try steps(part) }
            return all
        case "ByteLevel": return [.bytes]
        case "ByteFallback": return [.byteTokens]
        case "Fuse": return [.join]
        case "Replace":
            guard let pattern = tree["pattern"]?["String"]?.text, !pattern.isEmpty, let content = tree["content"]?.text
            else { break }
            return [.replace([UInt8](pattern.utf8), by: [UInt8](content.utf8))]
        case "Strip":
            guard tree["content"]?.text == " ", let start = tree["start"]?.integer, start >= 0,
                tree["stop"]?.integer ?? 0 == 0
            else { break }
            return [.stripSpaces(start)]
        case "Metaspace":
            guard tree["replacement"]?.text == Normalizer.spaceSign else { break }
            let scheme = tree["prepend_scheme"]?.text ?? (tree["add_prefix_space"]?.flag ?? true ? "always" : "never")
            return [.metaspace(dropsFirst: scheme != "never")]
        default: break
        }
        throw .init(
            "its decoder \(tree.type ?? "without a type") is not read as it is; ByteLevel, ByteFallback, Fuse, Metaspace, and"
                + " Replace and Strip for spaces, are")
    }

    func text(of tokens: [[UInt8]]) -> String {
        var tokens = tokens
        for step in steps {
            switch step {
            case .bytes:
                let bytes = tokens.flatMap { ByteAlphabet.bytes(of: $0) ?? $0 }
                tokens = [[UInt8](String(decoding: bytes, as: UTF8.self).utf8)]
            case .replace(let pattern, let content): tokens = tokens.map { Self.replace(pattern, by: content, in: $0) }
            case .byteTokens: tokens = Self.bytesRead(tokens)
            case .join: tokens = [tokens.flatMap(\.self)]
            case .stripSpaces(let most):
                tokens = tokens.map { token in
                    [UInt8](token.dropFirst(token.prefix(most).prefix { $0 == 0x20 }.count))
                }
            case .metaspace(let dropsFirst):
                tokens = tokens.enumerated().map { index, token in
                    Self.replace(Self.spaceSign, by: index == 0 && dropsFirst ? [] : [0x20], in: token)
                }
            }
        }
        return String(decoding: tokens.flatMap(\.self), as: UTF8.self)
    }

    private static func replace(_ pattern: [UInt8], by content: [UInt8], in token: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var place = 0
        while place < token.count {
            if token[place...].starts(with: pattern) {
                result += content
                place += pattern.count
            } else {
                result.append(token[place])
                place += 1
            }
        }
        return result
    }

    /// Bytes that are no UTF-8 together become one U+FFFD each.
    private static func bytesRead(_ tokens: [[UInt8]]) -> [[UInt8]] {
        var result: [[UInt8]] = []
        var bytes: [UInt8] = []
        func flush() {
            if bytes.isEmpty { return }
            if String(validating: bytes, as: UTF8.self) != nil {
                result.append(bytes)
            } else {
                for _ in bytes { result.append(replacement) }
            }
            bytes = []
        }
        for token in tokens {
            if let byte = ByteAlphabet.byte(named: token) {
                bytes.append(byte)
            } else {
                flush()
                result.append(token)
            }
        }
        flush()
        return result
    }
}
