internal import FoundationEssentials
internal import TransfusionCore
internal import TransfusionModels

/// What a Transfusion model's `config.json` says: the configuration, and what the model was trained with.
struct ModelDescription: Codable {
    var configuration: ModelConfiguration
    /// Rows of the longest sequence that the model was trained on, when that is known.
    var contextLength: Int?
    /// What transformers calls the text part.
    var family = LlamaFamily.llama

    /// More than any sequence has; sizes from outside are multiplied later on.
    static let contextLimit = 1 << 24

    private enum CodingKeys: String, CodingKey {
        case contextLength = "max_position_embeddings"
        case family = "model_type"
    }

    init(_ configuration: ModelConfiguration, contextLength: Int?, family: LlamaFamily) {
        self.configuration = configuration
        self.contextLength = contextLength
        self.family = family
    }

    /// Reads a description and refuses one of which no model can be made.
    init(from decoder: any Decoder) throws {
        configuration = try ModelConfiguration(from: decoder)
        if let problem = configuration.problems().first { throw problem }
        let values = try decoder.container(keyedBy: CodingKeys.self)
        contextLength = try values.decodeIfPresent(Int.self, forKey: .contextLength)
        family = (try values.decodeIfPresent(String.self, forKey: .family)).flatMap(LlamaFamily.init) ?? .llama
        guard (1...Self.contextLimit).contains(contextLength ?? 1) else {
            throw DecodingError.dataCorruptedError(forKey: .contextLength, in: values, debugDescription: "")
        }
    }

    func encode(to encoder: any Encoder) throws {
        try configuration.encode(to: encoder)
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encodeIfPresent(contextLength, forKey: .contextLength)
        try values.encode(family, forKey: .family)
    }
}
