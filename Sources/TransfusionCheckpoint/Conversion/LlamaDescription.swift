internal import FoundationEssentials
internal import TransfusionCore
internal import TransfusionModels

/// What a Llama's `config.json` or `params.json` says of it.
struct LlamaDescription {
    var layers: Int
    var width: Int
    var heads: Int
    var keyValueHeads: Int
    var headWidth: Int
    var feedForward: Int
    var vocabulary: Int
    var rmsNormEpsilon: Float
    var ropeBase: Float
    var beginOfText: Int32
    var endOfText: Int32
    var hasTiedEmbeddings = false
    /// Rows of the longest sequence that the Llama was trained on, when it says so.
    var contextLength: Int?

    /// The Transfusion model that this Llama starts: BOI and EOI are added after its vocabulary.
    func configuration(_ images: ImageOptions) -> ModelConfiguration {
        var configuration = ModelConfiguration(
            layers: layers, width: width, heads: heads, feedForward: feedForward, vocabulary: vocabulary + 2,
            patchSize: images.patchSize, imageChannels: images.channels, imageHeight: images.height,
            imageWidth: images.width, beginOfText: beginOfText, endOfText: endOfText,
            beginOfImage: Int32(vocabulary), endOfImage: Int32(vocabulary + 1))
        configuration.keyValueHeads = keyValueHeads
        configuration.headWidth = headWidth
        configuration.rmsNormEpsilon = rmsNormEpsilon
        configuration.ropeBase = ropeBase
        configuration.timestepAfterProjection = images.timestepAfterProjection
        return configuration
    }

    /// Refuses sizes that overflow when they are multiplied, and models that cannot be.
    private func validated(_ path: String) throws -> LlamaDescription {
        let sizes = [layers, width, heads, keyValueHeads, headWidth, feedForward, vocabulary]
        guard sizes.allSatisfy({ $0 > 0 && $0 <= 1 << 24 }), heads % keyValueHeads == 0,
            (1...ModelDescription.contextLimit).contains(contextLength ?? 1)
        else {
            throw CheckpointError(path, "describes an impossible model")
        }
        return self
    }
}

// Hugging Face's config.json.
extension LlamaDescription {
    private struct HuggingFace: Codable {
        var architectures: [String]? = ["LlamaForCausalLM"]
        var attentionBias: Bool? = false
        var beginOfText: Int32?
        var endOfText: OneOrMore?
        var hiddenAct: String? = "silu"
        var width: Int
        var feedForward: Int
        var maximumPositions: Int?
        var mlpBias: Bool? = false
        var modelType: String? = "llama"
        var heads: Int
        var layers: Int
        var keyValueHeads: Int?
        var headWidth: Int?
        var rmsNormEpsilon: Float?
        var ropeParameters: Rope?
        var ropeScaling: Rope?
        var ropeTheta: Float?
        var tieWordEmbeddings: Bool? = false
        var type: String?
        var vocabulary: Int

        struct Rope: Codable {
            var theta: Float?
            var type: String?
            enum CodingKeys: String, CodingKey {
                case theta = "rope_theta"
                case type = "rope_type"
            }
        }

        /// Newer Llamas have several tokens that end a text.
        struct OneOrMore: Codable {
            var first: Int32?
            init(_ first: Int32) { self.first = first }
            init(from decoder: any Decoder) throws {
                let value = try decoder.singleValueContainer()
                first = try (try? value.decode(Int32.self)) ?? value.decode([Int32].self).first
            }
            func encode(to encoder: any Encoder) throws {
                var value = encoder.singleValueContainer()
                try value.encode(first)
            }
        }

        enum CodingKeys: String, CodingKey {
            case architectures
            case attentionBias = "attention_bias"
            case beginOfText = "bos_token_id"
            case endOfText = "eos_token_id"
            case hiddenAct = "hidden_act"
            case width = "hidden_size"
            case feedForward = "intermediate_size"
            case maximumPositions = "max_position_embeddings"
            case mlpBias = "mlp_bias"
            case modelType = "model_type"
            case heads = "num_attention_heads"
            case layers = "num_hidden_layers"
            case keyValueHeads = "num_key_value_heads"
            case headWidth = "head_dim"
            case rmsNormEpsilon = "rms_norm_eps"
            case ropeParameters = "rope_parameters"
            case ropeScaling = "rope_scaling"
            case ropeTheta = "rope_theta"
            case tieWordEmbeddings = "tie_word_embeddings"
            case type = "torch_dtype"
            case vocabulary = "vocab_size"
        }
    }

    init(huggingFace path: String) throws {
        let file: HuggingFace = try Self.decode(path)
        func require(_ holds: Bool, _ problem: @autoclosure () -> String) throws {
            if !holds { throw CheckpointError(path, problem()) }
        }
        try require(file.modelType == "llama", "describes a '\(file.modelType ?? "?")' model, not a llama")
        try require(
            file.hiddenAct ?? "silu" == "silu", "asks for the activation \(file.hiddenAct ?? ""); silu is known")
        try require(
            file.heads > 0 && (file.headWidth != nil || file.width % file.heads == 0), "describes an impossible model")
        try require(file.attentionBias != true && file.mlpBias != true, "has biases, which Transfusion models have not")
        let ropeType = file.ropeParameters?.type ?? file.ropeScaling?.type ?? "default"
        try require(
            ropeType == "default" && (file.ropeScaling == nil || file.ropeScaling?.type == "default"),
            "scales its rotary embedding (\(ropeType)), which Transfusion models do not")
        self = try LlamaDescription(
            layers: file.layers, width: file.width, heads: file.heads, keyValueHeads: file.keyValueHeads ?? file.heads,
            headWidth: file.headWidth ?? file.width / file.heads, feedForward: file.feedForward,
            vocabulary: file.vocabulary, rmsNormEpsilon: file.rmsNormEpsilon ?? 1e-6,
            ropeBase: file.ropeTheta ?? file.ropeParameters?.theta ?? 10000, beginOfText: file.beginOfText ?? 1,
            endOfText: file.endOfText?.first ?? 2, hasTiedEmbeddings: file.tieWordEmbeddings ?? false,
            contextLength: file.maximumPositions
        ).validated(path)
    }

    /// The `config.json` of a Llama with elements of `type`.
    /// - Parameter contextLength: nil when it is not known; what reads the Llama then takes a length of its own.
    static func huggingFace(
        _ model: ModelConfiguration, contextLength: Int?, type: ElementType
    ) throws -> [UInt8] {
        let names: [ElementType: String] = [.f32: "float32", .bf16: "bfloat16", .f16: "float16"]
        return try JSONText.pretty(
            HuggingFace(
                beginOfText: model.beginOfText, endOfText: .init(model.endOfText), width: model.width,
                feedForward: model.feedForward, maximumPositions: contextLength, heads: model.heads,
                layers: model.layers, keyValueHeads: model.keyValueHeads,
                headWidth: model.headWidth, rmsNormEpsilon: model.rmsNormEpsilon, ropeTheta: model.ropeBase,
                type: names[type], vocabulary: model.vocabulary))
    }

    static func decode<Value: Decodable>(_ path: String) throws -> Value {
        let json = try POSIXFileSystem().contents(path, limit: 1 << 20)
        guard !json.isEmpty else { throw CheckpointError(path, "is empty") }
        guard String(validating: json, as: UTF8.self) != nil else { throw CheckpointError(path, "is not UTF-8 text") }
        do {
            return try JSONDecoder().decode(Value.self, from: Data(json))
        } catch {
            throw CheckpointError(path, "cannot be understood: \(JSONProblem(error))")
        }
    }
}

// Meta's params.json.
extension LlamaDescription {
    private struct Meta: Codable {
        var dim: Int
        var n_layers: Int
        var n_heads: Int
        var n_kv_heads: Int?
        var vocab_size: Int
        var norm_eps: Float
        var rope_theta: Float?
        var use_scaled_rope: Bool?
    }

    /// - Parameters:
    ///   - feedForward: The hidden width, which `params.json` implies only.
    ///   - vocabulary: The number of embeddings; `params.json` may say −1.
    init(meta path: String, feedForward: Int, vocabulary: Int) throws {
        let file: Meta = try Self.decode(path)
        guard file.n_heads > 0, file.dim % file.n_heads == 0 else {
            throw CheckpointError(path, "describes an impossible model")
        }
        guard file.use_scaled_rope != true else {
            throw CheckpointError(path, "scales its rotary embedding, which Transfusion models do not")
        }
        self = try LlamaDescription(
            layers: file.n_layers, width: file.dim, heads: file.n_heads, keyValueHeads: file.n_kv_heads ?? file.n_heads,
            headWidth: file.dim / file.n_heads, feedForward: feedForward, vocabulary: vocabulary,
            rmsNormEpsilon: file.norm_eps, ropeBase: file.rope_theta ?? 10000, beginOfText: 1,
            endOfText: 2
        ).validated(path)
    }

    /// - Throws: When the model has what no `params.json` can say.
    static func meta(_ model: ModelConfiguration, path: String) throws -> [UInt8] {
        guard model.headWidth * model.heads == model.width else {
            throw CheckpointError(
                path,
                "cannot say that \(model.heads) heads of \(model.headWidth) are no equal parts of the width "
                    + "\(model.width); choose --to hf-llama")
        }
        return try JSONText.pretty(
            Meta(
                dim: model.width, n_layers: model.layers, n_heads: model.heads,
                n_kv_heads: model.keyValueHeads == model.heads ? nil : model.keyValueHeads,
                vocab_size: model.vocabulary,
                norm_eps: model.rmsNormEpsilon, rope_theta: model.ropeBase))
    }
}
