internal import TransfusionCore

/// The vocabulary of a tokenizer's file with what another program needs to encode text alike.
package struct TokenizerVocabulary {
    /// With the numbers that SentencePiece gives them.
    package enum Kind: Int32, Sendable {
        case normal = 1
        case unknown = 2
        case control = 3
        case userDefined = 4
        case unused = 5
        case byte = 6
    }

    package struct Token {
        package var text: [UInt8]
        package var score: Float
        package var kind: Kind

        package init(text: [UInt8], score: Float = 0, kind: Kind = .normal) {
            self.text = text
            self.score = score
            self.kind = kind
        }
    }

    package enum Encoding {
        /// Characters are joined to pieces, those of the highest score first.
        case pieces(putsSpaceBeforeText: Bool)
        /// Bytes, written as letters, are joined by the merges, the first ones first, in words that are cut by a pattern.
        case bytes(pattern: String, merges: [[UInt8]])
    }

    /// By their ids, without tokens for images that the file does not hold.
    package private(set) var tokens: [Token]
    package let encoding: Encoding

    /// - Parameters:
    ///   - contents: Those of a `.model` file or a `tokenizer.json`.
    ///   - name: What errors call it.
    package init(contents: [UInt8], name: String) throws(DataError) {
        // What no text can be encoded with is refused by what reads it for that.
        switch try Tokenizer(contents: contents, name: name).form {
        case .sentencePiece: (tokens, encoding) = try Self.sentencePieces(contents, name)
        case .json: (tokens, encoding) = try Self.json(contents, name)
        }
    }

    private static func sentencePieces(
        _ contents: [UInt8], _ name: String
    ) throws(DataError) -> ([Token], Encoding) {
        guard let model = SentencePieceModel(contents) else { throw DataError(name, "is no SentencePiece model") }
        let tokens = model.pieces.map {
            Token(text: [UInt8]($0.text), score: $0.score, kind: Kind(rawValue: Int32($0.kind.rawValue)) ?? .normal)
        }
        return (tokens, .pieces(putsSpaceBeforeText: model.putsSpaceBeforeText))
    }

    private static func json(_ contents: [UInt8], _ name: String) throws(DataError) -> ([Token], Encoding) {
        let description = try TokenizerDescription(contents, name: name)
        var tokens: [Token]
        do throws(TokenizerDescription.Refusal) {
            tokens = try TokenTable(description).tokens.map { Token(text: $0, kind: $0.isEmpty ? .unused : .normal) }
        } catch {
            throw DataError(name, error.description)
        }
        for token in description.addedTokens {
            tokens[Int(token.id)].kind = token.isSpecial ? .control : .userDefined
        }
        guard case .bytes(let pattern, let putsSpace) = description.preTokenizer else {
            return (
                scored(tokens, description),
                .pieces(putsSpaceBeforeText: putsSpaceBeforeText(description))
            )
        }
        guard !putsSpace else {
            throw DataError(name, "its pre_tokenizer ByteLevel puts a space before a text, which GGUF files cannot say")
        }
        return (
            tokens, .bytes(pattern: pattern.nameInGGUF, merges: description.merges.map { $0.left + [0x20] + $0.right })
        )
    }

    private static func putsSpaceBeforeText(_ description: TokenizerDescription) -> Bool {
        if case .metaspace(let prefix, _) = description.preTokenizer { return prefix != .never }
        return description.normalizers.contains(.space)
    }

    /// What a SentencePiece model says instead of merges: the score of a piece falls with the rank of the first merge that
    /// makes it.
    private static func scored(_ tokens: [Token], _ description: TokenizerDescription) -> [Token] {
        var tokens = tokens
        let ids = Dictionary(description.vocabulary.map { ($0.text, Int($0.id)) }) { first, _ in first }
        var ranks: [Int: Int] = [:]
        for (rank, merge) in description.merges.enumerated() {
            guard let id = ids[merge.left + merge.right], ranks[id] == nil else { continue }
            ranks[id] = rank
        }
        for id in tokens.indices where tokens[id].kind == .normal {
            if ByteAlphabet.byte(named: tokens[id].text) != nil {
                tokens[id].kind = .byte
            } else {
                tokens[id].score = -Float(ranks[id] ?? description.merges.count)
            }
        }
        if let unknown = description.unknownToken.flatMap({ ids[$0] }) { tokens[unknown].kind = .unknown }
        return tokens
    }
}

extension WordPattern {
    /// What llama.cpp calls the pattern (`tokenizer.ggml.pre`).
    fileprivate var nameInGGUF: String {
        switch self {
        case .gpt2: "gpt-2"
        case .llama3: "llama-bpe"
        case .qwen2: "qwen2"
        case .digitsThenGPT2: "smollm"
        case .tekken: "tekken"
        }
    }
}
