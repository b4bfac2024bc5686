internal import FoundationEssentials
internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionSupport

/// What transformers 4 or 5 writes into the `config.json` of a model of the Llama family, as far as it matters here.
private struct HuggingFaceConfiguration: Decodable {
    var attentionBias: Bool?
    var beginOfText: OneOrMore?
    var endOfText: OneOrMore?
    var experts: Int?
    var localExperts: Int?
    var hiddenAct: String?
    var width: Int
    var feedForward: Int
    var layerTypes: [String]?
    var maximumPositions: Int?
    var mlpBias: Bool?
    var modelType: String?
    var heads: Int
    var layers: Int
    var keyValueHeads: Int?
    var headWidth: Int?
    var partialRotaryFactor: Double?
    var rmsNormEpsilon: Float?
    /// Of transformers 5.
    var ropeParameters: Rope?
    /// Of transformers 4, as is `ropeTheta`.
    var ropeScaling: Rope?
    var ropeTheta: Float?
    var slidingWindow: Int?
    var usesSlidingWindow: Bool?
    var tieWordEmbeddings: Bool?
    var vocabulary: Int

    struct Rope: Decodable {
        var theta: Float?
        var type: String?
        /// What the type was called at first.
        var formerType: String?
        var factor: Double?
        var lowFrequencyFactor: Double?
        var highFrequencyFactor: Double?
        var originalContext: Int?
        var partialRotaryFactor: Double?

        enum CodingKeys: String, CodingKey {
            case theta = "rope_theta"
            case type = "rope_type"
            case formerType = "type"
            case factor
            case lowFrequencyFactor = "low_freq_factor"
            case highFrequencyFactor = "high_freq_factor"
            case originalContext = "original_max_position_embeddings"
            case partialRotaryFactor = "partial_rotary_factor"
        }
    }

    /// Newer Llamas have several tokens that end a text.
    struct OneOrMore: Decodable {
        var first: Int32?
        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            first = try (try? value.decode(Int32.self)) ?? value.decode([Int32].self).first
        }
    }

    enum CodingKeys: String, CodingKey {
        case attentionBias = "attention_bias"
        case beginOfText = "bos_token_id"
        case endOfText = "eos_token_id"
        case experts = "num_experts"
        case localExperts = "num_local_experts"
        case hiddenAct = "hidden_act"
        case width = "hidden_size"
        case feedForward = "intermediate_size"
        case layerTypes = "layer_types"
        case maximumPositions = "max_position_embeddings"
        case mlpBias = "mlp_bias"
        case modelType = "model_type"
        case heads = "num_attention_heads"
        case layers = "num_hidden_layers"
        case keyValueHeads = "num_key_value_heads"
        case headWidth = "head_dim"
        case partialRotaryFactor = "partial_rotary_factor"
        case rmsNormEpsilon = "rms_norm_eps"
        case ropeParameters = "rope_parameters"
        case ropeScaling = "rope_scaling"
        case ropeTheta = "rope_theta"
        case slidingWindow = "sliding_window"
        case usesSlidingWindow = "use_sliding_window"
        case tieWordEmbeddings = "tie_word_embeddings"
        case vocabulary = "vocab_size"
    }
}

// What it says, or why no Transfusion model can be made of it.
extension HuggingFaceConfiguration {
    /// Why a configuration is not that of a model that can be read: the end of a sentence that begins with its path.
    struct Refusal: Error {
        let problem: String
    }

    private func require(_ holds: Bool, _ problem: @autoclosure () -> String) throws(Refusal) {
        if !holds { throw Refusal(problem: problem()) }
    }

    func family() throws(Refusal) -> LlamaFamily {
        let type = modelType ?? "?"
        let known = LlamaFamily.allCases.map(\.rawValue).joined(separator: ", ")
        try require(
            (experts ?? 0) == 0 && (localExperts ?? 0) == 0 && !type.contains("moe") && type != "mixtral",
            "describes a mixture of experts ('\(type)'); dense models are read: \(known)")
        guard let family = LlamaFamily(rawValue: type) else {
            throw Refusal(problem: "describes a '\(type)' model; those that are read are \(known)")
        }
        return family
    }

    /// Refuses what a Transfusion model's block does not do.
    func requireKnownBlock(_ family: LlamaFamily) throws(Refusal) {
        try require(
            hiddenAct ?? "silu" == "silu", "asks for the activation \(hiddenAct ?? ""); silu is known")
        try require(mlpBias != true, "has biases in its feed-forward layers (mlp_bias), which are not read")
        try require(
            heads > 0 && (headWidth != nil || width % heads == 0),
            "describes an impossible model: \(heads) heads for a width of \(width)")
        if let other = layerTypes?.first(where: { !["full_attention", "sliding_attention"].contains($0) }) {
            throw Refusal(problem: "has layers of the type \(other), which are not read")
        }
        let slides = family == .mistral || family != .llama && usesSlidingWindow == true
        guard slides, layerTypes?.contains("sliding_attention") ?? true, let slidingWindow else { return }
        try require(
            slidingWindow >= maximumPositions ?? .max,
            "has a sliding window of \(slidingWindow) rows, shorter than its context "
                + "(\(maximumPositions.map { "\($0) rows" } ?? "of no length")); Transfusion models see all of it")
    }

    func attentionBias(_ family: LlamaFamily) -> ModelConfiguration.AttentionBias {
        switch family {
        case .llama, .qwen3: attentionBias == true ? .all : .none
        case .mistral: .none
        // It says so nowhere.
        case .qwen2: .queryKeyValue
        }
    }

    func rope() throws(Refusal) -> (base: Float, scaling: RotaryScaling?) {
        for factor in [partialRotaryFactor, ropeParameters?.partialRotaryFactor, ropeScaling?.partialRotaryFactor] {
            try require(
                factor ?? 1 == 1,
                "turns a part of each head only (partial_rotary_factor \(factor ?? 1)), which is not read")
        }
        try require(
            ropeParameters == nil || ropeParameters?.theta != nil || ropeTheta != nil,
            "has rope_parameters without a rope_theta")
        let base = ropeParameters?.theta ?? ropeTheta ?? 10000
        guard let rope = ropeParameters ?? ropeScaling else { return (base, nil) }
        let type = rope.type ?? rope.formerType ?? "default"
        guard type != "default" else { return (base, nil) }
        try require(
            type == "llama3", "scales its rotary embedding by \(type); those that are read are default and llama3")
        guard let factor = rope.factor, let low = rope.lowFrequencyFactor, let high = rope.highFrequencyFactor,
            let original = rope.originalContext
        else {
            throw Refusal(
                problem: "scales its rotary embedding by llama3 without factor, low_freq_factor, high_freq_factor or "
                    + "original_max_position_embeddings")
        }
        var scaling = RotaryScaling()
        scaling.factor = factor
        scaling.lowFrequencyFactor = low
        scaling.highFrequencyFactor = high
        scaling.originalContext = original
        return (base, scaling)
    }

    func specialTokens(_ family: LlamaFamily) throws(Refusal) -> (begin: Int32, end: Int32) {
        let isLlama = family == .llama || family == .mistral
        guard let end = endOfText?.first ?? (isLlama ? 2 : nil) else {
            throw Refusal(problem: "says no eos_token_id; add that of the model's tokenizer")
        }
        // Qwen begins a text with what ends one.
        return (beginOfText?.first ?? (isLlama ? 1 : end), end)
    }
}

extension LlamaDescription {
    /// - Parameter path: A `config.json`.
    init(huggingFace path: String) throws {
        let file: HuggingFaceConfiguration = try Self.decode(path)
        do throws(HuggingFaceConfiguration.Refusal) {
            let family = try file.family()
            try file.requireKnownBlock(family)
            let (base, scaling) = try file.rope()
            let (begin, end) = try file.specialTokens(family)
            self.init(
                family: family, layers: file.layers, width: file.width, heads: file.heads,
                keyValueHeads: file.keyValueHeads ?? file.heads, headWidth: file.headWidth ?? file.width / file.heads,
                feedForward: file.feedForward, vocabulary: file.vocabulary,
                rmsNormEpsilon: file.rmsNormEpsilon ?? 1e-6, ropeBase: base, ropeScaling: scaling, beginOfText: begin,
                endOfText: end, hasTiedEmbeddings: file.tieWordEmbeddings ?? false,
                attentionBias: file.attentionBias(family), hasQueryKeyNorm: family == .qwen3,
                contextLength: file.maximumPositions)
        } catch {
            throw CheckpointError(path, error.problem)
        }
        self = try validated(path)
    }

    /// The `config.json` of a model with elements of `type`, as transformers writes it for the family.
    /// - Parameter contextLength: nil when it is not known; what reads the model then takes a length of its own.
    static func huggingFace(
        _ model: ModelConfiguration, _ family: LlamaFamily, contextLength: Int?, type: ElementType
    ) throws -> [UInt8] {
        let types: [ElementType: String] = [.f32: "float32", .bf16: "bfloat16", .f16: "float16"]
        func number(_ value: Int) -> JSONValue { .number(Double(value)) }
        // The shortest decimal, not the one that is nearest to the float.
        func number(_ value: Float) -> JSONValue { .number(Double(value.description) ?? Double(value)) }
        var file: [String: JSONValue] = [
            "architectures": .array([.string(family.architecture)]), "bos_token_id": number(Int(model.beginOfText)),
            "eos_token_id": number(Int(model.endOfText)), "head_dim": number(model.headWidth),
            "hidden_act": .string("silu"), "hidden_size": number(model.width),
            "intermediate_size": number(model.feedForward), "model_type": .string(family.rawValue),
            "num_attention_heads": number(model.heads), "num_hidden_layers": number(model.layers),
            "num_key_value_heads": number(model.keyValueHeads), "rms_norm_eps": number(model.rmsNormEpsilon),
            "rope_theta": number(model.ropeBase), "tie_word_embeddings": .bool(model.hasTiedEmbeddings),
            "torch_dtype": .string(types[type] ?? "float32"), "vocab_size": number(model.vocabulary),
        ]
        file["max_position_embeddings"] = contextLength.map(number)
        if let scaling = model.ropeScaling {
            file["rope_scaling"] = try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(scaling))
        }
        switch family {
        case .llama:
            file["attention_bias"] = .bool(model.attentionBias == .all)
            file["mlp_bias"] = .bool(false)
        case .mistral: file["sliding_window"] = .null
        case .qwen2: file["use_sliding_window"] = .bool(false)
        case .qwen3:
            file["attention_bias"] = .bool(model.attentionBias == .all)
            file["use_sliding_window"] = .bool(false)
        }
        return try JSONText.pretty(JSONValue.object(file))
    }
}
