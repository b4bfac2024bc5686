internal import FoundationEssentials
internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionSupport

/// The small files beside an exported Llama, without which transformers takes other defaults than the model was trained
/// with: it would leave out BOS, for one.
struct LlamaCompanions {
    private static let tokenizerConfigurationName = "tokenizer_config.json"
    private static let generationConfigurationName = "generation_config.json"

    private let model: ModelConfiguration
    private let contextLength: Int?
    /// The contents of the SentencePiece model that travels along; nil when there is none, or it has a description already.
    private let sentencePieces: [UInt8]?
    /// The texts of the tokens of the `tokenizer.json` that travels along alone; nil as above.
    private let addedTokens: AddedTokens?

    /// - Parameter model: Of the Llama, without BOI and EOI.
    init(_ model: ModelConfiguration, _ weights: ModelWeights) throws {
        self.model = model
        contextLength = weights.contextLength
        func file(_ name: String) -> String? { weights.tokenizerFiles.first { Paths.name(of: $0) == name } }
        func contents(_ name: String) throws -> [UInt8]? {
            guard let path = file(name), file(Self.tokenizerConfigurationName) == nil else { return nil }
            return try POSIXFileSystem().contents(path, limit: ModelWeights.tokenizerLimit)
        }
        sentencePieces = try contents(ModelWeights.tokenizerModel)
        addedTokens =
            sentencePieces == nil
            ? try contents(ModelWeights.tokenizerJSON).flatMap {
                try? JSONDecoder().decode(AddedTokens.self, from: Data($0))
            } : nil
    }

    /// The names and contents of the files.
    func files() throws -> [(name: String, contents: [UInt8])] {
        var files = [
            (
                name: Self.generationConfigurationName,
                contents: try JSONText.pretty(Generation(beginOfText: model.beginOfText, endOfText: model.endOfText))
            )
        ]
        if let description = addedTokens?.description(of: model, contextLength) {
            files.append((name: Self.tokenizerConfigurationName, contents: try JSONText.pretty(description)))
        }
        guard let sentencePieces, let pieces = SentencePieces(sentencePieces),
            let begin = pieces[model.beginOfText], let end = pieces[model.endOfText], let unknown = pieces.unknown
        else { return files }
        files.append(
            (
                name: Self.tokenizerConfigurationName,
                contents: try JSONText.pretty(
                    Tokenizer(beginOfText: begin, endOfText: end, unknown: unknown, contextLength: contextLength))
            ))
        return files
    }

    private struct Generation: Encodable {
        /// That the file only repeats the model's own settings.
        var isOfModel = true
        var beginOfText: Int32
        var endOfText: Int32

        enum CodingKeys: String, CodingKey {
            case isOfModel = "_from_model_config"
            case beginOfText = "bos_token_id"
            case endOfText = "eos_token_id"
        }
    }

    /// What a `tokenizer.json` says of its tokens.
    private struct AddedTokens: Decodable {
        let added_tokens: [Token]

        struct Token: Decodable {
            let id: Int32
            let content: String
        }

        struct Description: Encodable {
            var className = "PreTrainedTokenizerFast"
            var beginOfText: String
            var endOfText: String
            var cleansUpSpaces = false
            var contextLength: Int?

            enum CodingKeys: String, CodingKey {
                case className = "tokenizer_class"
                case beginOfText = "bos_token"
                case endOfText = "eos_token"
                case cleansUpSpaces = "clean_up_tokenization_spaces"
                case contextLength = "model_max_length"
            }
        }

        func description(of model: ModelConfiguration, _ contextLength: Int?) -> Description? {
            func text(_ id: Int32) -> String? { added_tokens.last { $0.id == id }?.content }
            guard let begin = text(model.beginOfText), let end = text(model.endOfText) else { return nil }
            return Description(beginOfText: begin, endOfText: end, contextLength: contextLength)
        }
    }

    private struct Tokenizer: Encodable {
        var className = "LlamaTokenizer"
        var addsBeginOfText = true
        var addsEndOfText = false
        var beginOfText: String
        var endOfText: String
        var unknown: String
        /// Whether a space before a special token is lost, as in the first Llamas.
        var isLegacy = false
        var cleansUpSpaces = false
        var contextLength: Int?

        enum CodingKeys: String, CodingKey {
            case className = "tokenizer_class"
            case addsBeginOfText = "add_bos_token"
            case addsEndOfText = "add_eos_token"
            case beginOfText = "bos_token"
            case endOfText = "eos_token"
            case unknown = "unk_token"
            case isLegacy = "legacy"
            case cleansUpSpaces = "clean_up_tokenization_spaces"
            case contextLength = "model_max_length"
        }
    }
}
