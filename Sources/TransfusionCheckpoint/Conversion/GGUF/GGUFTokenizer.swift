internal import FoundationEssentials
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels
internal import TransfusionSupport

/// The tokenizer of a model as metadata of a GGUF file.
struct GGUFTokenizer {
    private let vocabulary: TokenizerVocabulary
    private let model: ModelConfiguration
    private let settings: Settings

    /// What a `tokenizer_config.json` says.
    private struct Settings: Decodable {
        var addsBeginOfText: Bool?
        var addsEndOfText: Bool?
        var chatTemplate: String?

        enum CodingKeys: String, CodingKey {
            case addsBeginOfText = "add_bos_token"
            case addsEndOfText = "add_eos_token"
            case chatTemplate = "chat_template"
        }

        init() {}

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            addsBeginOfText = try? values.decode(Bool.self, forKey: .addsBeginOfText)
            addsEndOfText = try? values.decode(Bool.self, forKey: .addsEndOfText)
            // Some have several by name, of which a GGUF file has no place for.
            chatTemplate = try? values.decode(String.self, forKey: .chatTemplate)
        }
    }

    /// - Parameter model: Without the rows of BOI and EOI that follow the text's.
    init(_ weights: ModelWeights, _ model: ModelConfiguration, path: String) throws {
        func file(_ names: [String]) -> String? {
            weights.tokenizerFiles.first { names.contains(Paths.name(of: $0)) }
        }
        guard let file = file(ModelWeights.vocabularyNames) else {
            throw CheckpointError(
                path,
                "cannot be written: a GGUF file holds the tokenizer, and the model has none; put tokenizer.model or "
                    + "tokenizer.json beside it")
        }
        func contents(_ file: String) throws -> [UInt8] {
            try POSIXFileSystem().contents(file, limit: ModelWeights.tokenizerLimit)
        }
        vocabulary = try TokenizerVocabulary(contents: contents(file), name: file)
        guard vocabulary.tokens.count <= model.vocabulary else {
            throw CheckpointError(
                path,
                "cannot be written: \(file) has \(vocabulary.tokens.count) tokens, the model \(model.vocabulary) rows for them; "
                    + "put the model's own tokenizer beside it")
        }
        self.model = model
        settings =
            try weights.tokenizerFiles.first { Paths.name(of: $0) == "tokenizer_config.json" }
            .map { file in
                do {
                    return try JSONDecoder().decode(Settings.self, from: Data(contents(file)))
                } catch is DecodingError {
                    throw CheckpointError(file, "is not a JSON object as tokenizers write them; mend it, or remove it")
                }
            } ?? Settings()
    }

    var metadata: [(key: String, value: GGUFValue)] {
        var tokens = vocabulary.tokens
        // Rows that no token has.
        for id in tokens.count..<model.vocabulary {
            tokens.append(TokenizerVocabulary.Token(text: [UInt8]("[PAD\(id)]".utf8), kind: .unused))
        }
        for id in tokens.indices where tokens[id].text.isEmpty { tokens[id].text = [UInt8]("[PAD\(id)]".utf8) }
        var metadata = encoding(tokens)
        metadata += [
            ("token_type", .integers(tokens.map(\.kind.rawValue))),
            ("bos_token_id", .unsigned(Int(model.beginOfText))), ("eos_token_id", .unsigned(Int(model.endOfText))),
        ]
        if let unknown = tokens.firstIndex(where: { $0.kind == .unknown }) {
            metadata.append(("unknown_token_id", .unsigned(unknown)))
        }
        // The documents of a run begin with BOS.
        metadata += [
            ("add_bos_token", .flag(settings.addsBeginOfText ?? true)),
            ("add_eos_token", .flag(settings.addsEndOfText ?? false)),
        ]
        return metadata.map { ("tokenizer.ggml.\($0)", $1) }
            + (settings.chatTemplate.map { [("tokenizer.chat_template", .text($0))] } ?? [])
    }

    private func encoding(_ tokens: [TokenizerVocabulary.Token]) -> [(String, GGUFValue)] {
        let texts = GGUFValue.texts(tokens.map(\.text))
        switch vocabulary.encoding {
        case .pieces(let putsSpaceBeforeText):
            return [
                ("model", .text("llama")), ("pre", .text("default")), ("tokens", texts),
                ("scores", .floats(tokens.map(\.score))), ("add_space_prefix", .flag(putsSpaceBeforeText)),
            ]
        case .bytes(let pattern, let merges):
            return [
                ("model", .text("gpt2")), ("pre", .text(pattern)), ("tokens", texts), ("merges", .texts(merges)),
            ]
        }
    }
}
