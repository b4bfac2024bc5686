/// What is done to text before it is cut.
enum Normalizer: Equatable {
    /// Unicode's canonical composition.
    case composition
    /// A space is put before the text.
    case space
    /// Spaces are written as U+2581.
    case escapedSpaces

    static let spaceSign = "\u{2581}"

    static func list(_ tree: JSONTree?) throws(TokenizerDescription.Refusal) -> [Normalizer] {
        guard let tree, !tree.isNull else { return [] }
        switch tree.type {
        case "Sequence":
            var all: [Normalizer] = []
            for part in tree["normalizers"]?.list ?? [] { all += try list(part) }
            return all
        case "NFC": return [.composition]
        case "Prepend" where tree["prepend"]?.text == spaceSign: return [.space]
        case "Replace" where tree["pattern"]?["String"]?.text == " " && tree["content"]?.text == spaceSign:
            return [.escapedSpaces]
        case let name:
            throw .init(
                "its normalizer \(name ?? "without a type") is not read; NFC, and Prepend and Replace for \(spaceSign), are"
            )
        }
    }
}

/// How text is cut into the words that are encoded one by one.
enum PreTokenizer: Equatable {
    enum Prefix: String {
        case always
        case first
        case never
    }

    case none
    /// Spaces are written as U+2581, one is put before the text, and, when `cuts`, a word begins at each.
    case metaspace(Prefix, cuts: Bool)
    /// Words by a pattern, encoded as bytes.
    case bytes(WordPattern, putsSpaceBeforeText: Bool)

    init(_ tree: JSONTree?) throws(TokenizerDescription.Refusal) {
        guard let tree, !tree.isNull else {
            self = .none
            return
        }
        switch tree.type {
        case "Metaspace": self = try Self.metaspace(tree)
        case "ByteLevel": self = try Self.bytes([tree])
        case "Sequence": self = try Self.bytes(tree["pretokenizers"]?.list ?? [])
        // Where the normalizer has written spaces as U+2581, there are none to cut at.
        case "Split" where tree["pattern"]?["String"]?.text == " ": self = .none
        case let name: throw Self.refusal(name)
        }
    }

    private static func refusal(_ name: String?) -> TokenizerDescription.Refusal {
        .init("its pre_tokenizer \(name ?? "without a type") is not read; ByteLevel, Split, Digits and Metaspace are")
    }

    private static func metaspace(_ tree: JSONTree) throws(TokenizerDescription.Refusal) -> PreTokenizer {
        guard tree["replacement"]?.text == Normalizer.spaceSign else {
            throw .init("its pre_tokenizer Metaspace writes spaces other than as \(Normalizer.spaceSign)")
        }
        // Before version 0.15 a flag stood for the scheme.
        let scheme = tree["prepend_scheme"]?.text ?? (tree["add_prefix_space"]?.flag ?? true ? "always" : "never")
        guard let prefix = Prefix(rawValue: scheme) else {
            throw .init("its pre_tokenizer Metaspace has the unknown prepend_scheme \(scheme)")
        }
        return .metaspace(prefix, cuts: tree["split"]?.flag ?? true)
    }

    /// What comes before `ByteLevel`, and itself.
    private static func bytes(_ parts: [JSONTree]) throws(TokenizerDescription.Refusal) -> PreTokenizer {
        if let other = parts.first(where: { !["ByteLevel", "Split", "Digits"].contains($0.type) }) {
            throw refusal(other.type)
        }
        guard let last = parts.last, last.type == "ByteLevel", parts.count <= 2 else {
            throw .init(
                "its pre_tokenizer, \(parts.map { $0.type ?? "?" }.joined(separator: ", ")), is not read;"
                    + " ByteLevel, alone or behind one Split or Digits, is")
        }
        let usesPattern = last["use_regex"]?.flag ?? true
        let putsSpace = last["add_prefix_space"]?.flag ?? true
        guard parts.count == 2 else {
            guard usesPattern else {
                throw .init("its pre_tokenizer ByteLevel has no pattern (use_regex is false) and no Split before it")
            }
            return .bytes(.gpt2, putsSpaceBeforeText: putsSpace)
        }
        guard !putsSpace else {
            throw .init("its pre_tokenizer ByteLevel puts a space before each word (add_prefix_space)")
        }
        if parts[0].type == "Digits" {
            guard parts[0]["individual_digits"]?.flag == true, usesPattern else {
                throw .init(
                    "its pre_tokenizer Digits is read with individual_digits and before a ByteLevel with use_regex only"
                )
            }
            return .bytes(.digitsThenGPT2, putsSpaceBeforeText: false)
        }
        guard !usesPattern else {
            throw .init("its pre_tokenizer cuts by a Split and again by ByteLevel (use_regex), which is not read")
        }
        return .bytes(try pattern(ofSplit: parts[0]), putsSpaceBeforeText: false)
    }

    private static func pattern(ofSplit tree: JSONTree) throws(TokenizerDescription.Refusal) -> WordPattern {
        let text = tree["pattern"]?["Regex"]?.text ?? tree["pattern"]?["String"]?.text ?? ""
        guard let pattern = WordPattern(text) else {
            throw .init(
                "its pre_tokenizer Split has the pattern \(text), which is not among those of \(WordPattern.names)")
        }
        guard tree["behavior"]?.text == "Isolated", tree["invert"]?.flag ?? false == false else {
            throw .init("its pre_tokenizer Split is not \"Isolated\"")
        }
        return pattern
    }
}
