public import TransfusionCore

/// The sizes and options that define a Transfusion model.
///
/// As JSON it has the field names of a Hugging Face Llama `config.json`, plus the image fields.
public struct ModelConfiguration: Sendable, Equatable {
    public var layers: Int
    public var width: Int
    public var heads: Int
    /// Nil for as many as `heads`.
    private var ownKeyValueHeads: Int?
    /// Nil for an equal part of the width.
    private var ownHeadWidth: Int?
    /// The hidden width of the feed-forward network.
    public var feedForward: Int
    /// Number of token ids, BOI and EOI included.
    public var vocabulary: Int
    /// What images are to the model. Without any, their sizes mean nothing.
    public private(set) var images = Images.diffusion
    /// How many ids at the end of the vocabulary are codes of images, where these are tokens; 0 elsewhere.
    public private(set) var imageCodes = 0
    public var patchSize: Int
    public var imageChannels: Int
    public var imageHeight: Int
    public var imageWidth: Int
    public var beginOfText: Int32
    public var endOfText: Int32
    public var beginOfImage: Int32
    public var endOfImage: Int32
    public var rmsNormEpsilon: Float = 1e-5
    public var ropeBase: Float = 10000
    /// How the rotary embedding is stretched to a longer context, if it is.
    public var ropeScaling: RotaryScaling?
    /// Whether one table is embedding and head.
    public var hasTiedEmbeddings = false
    public var attentionBias = AttentionBias.none
    /// Whether and how each head of queries and keys is normalised.
    public var queryKeyNorm = QueryKeyNorm.none
    /// Where a block's norms stand.
    public var norm = NormPlace.pre
    /// Where the timestep embedding joins the patches: before the patch projection (the paper) or after it.
    public var timestepAfterProjection = false
    /// What turns images into vectors and back.
    public var patchCoder = PatchCoder.linear
    /// Nil for the usual ones.
    private var ownUNetChannels: Int?
    public var rowOptions = RowLayout.Options()

    /// Which of the attention's products with weights have a bias.
    public enum AttentionBias: String, Sendable, CaseIterable, Codable {
        case none
        /// Queries, keys and values, as in Qwen2.
        case queryKeyValue = "qkv"
        case all = "qkvo"
    }

    /// How each head of queries and keys is normalised before the rotary embedding.
    public enum QueryKeyNorm: String, Sendable, CaseIterable, Codable {
        case none = "false"
        /// By its root mean square, as in Qwen3.
        case rms = "true"
        /// LayerNorm with a bias, as in Chameleon.
        case layer
    }

    /// Where a block's two norms stand.
    public enum NormPlace: String, Sendable, CaseIterable, Codable {
        /// Before attention and feed-forward network, as in Llama.
        case pre
        /// After them, before their result joins the residual stream, as in Chameleon 34B and Swin v2.
        case post
    }

    public init(
        layers: Int, width: Int, heads: Int, feedForward: Int, vocabulary: Int, patchSize: Int, imageChannels: Int,
        imageHeight: Int, imageWidth: Int, beginOfText: Int32, endOfText: Int32, beginOfImage: Int32,
        endOfImage: Int32
    ) {
        self.layers = layers
        self.width = width
        self.heads = heads
        self.feedForward = feedForward
        self.vocabulary = vocabulary
        self.patchSize = patchSize
        self.imageChannels = imageChannels
        self.imageHeight = imageHeight
        self.imageWidth = imageWidth
        self.beginOfText = beginOfText
        self.endOfText = endOfText
        self.beginOfImage = beginOfImage
        self.endOfImage = endOfImage
    }

    /// What images are to a model.
    public enum Images: String, Sendable, CaseIterable, Codable {
        /// Patches in which it finds the noise.
        case diffusion
        /// Codes of a codebook, which are tokens like those of text: each is predicted from what stands before it, as in
        /// Chameleon.
        case tokens
        /// It knows none: a plain Llama, whose vocabulary has the markers of images all the same.
        case none
    }

    /// What turns images into vectors and back.
    public enum PatchCoder: String, Sendable, CaseIterable, Codable {
        /// A linear map each way.
        case linear
        /// The halves of a U-Net, with skips past the transformer.
        case unet
    }

    /// The same model without all that is for images.
    public var withoutImages: ModelConfiguration {
        var plain = self
        plain.images = .none
        (plain.imageHeight, plain.imageWidth) = (1, 1)
        plain.dropPatches()
        return plain
    }

    /// The same model with its images as tokens: the numbers of a codebook's codes, a channel of them, whose ids follow on the
    /// vocabulary that there is.
    public func withImageTokens(codes: Int) -> ModelConfiguration {
        var model = self
        model.images = .tokens
        model.imageCodes = codes
        model.vocabulary += codes
        model.dropPatches()
        return model
    }

    private mutating func dropPatches() {
        (patchSize, imageChannels) = (1, 1)
        timestepAfterProjection = false
        (patchCoder, ownUNetChannels) = (.linear, nil)
    }

    /// The ids that are no codes of images: those of the tokenizer.
    public var textVocabulary: Int { vocabulary - imageCodes }

    /// The tokens of an image whose numbers are those of its codes.
    public func imageTokens(_ codes: some Sequence<Float>) -> [Int32] {
        codes.map { Int32(textVocabulary) + Int32($0) }
    }

    /// Heads of keys and values, which heads of queries share: as many as those unless set.
    public var keyValueHeads: Int {
        get { ownKeyValueHeads ?? heads }
        set { ownKeyValueHeads = newValue == heads ? nil : newValue }
    }
    /// Columns of a head: an equal part of the width unless set.
    public var headWidth: Int {
        get { ownHeadWidth ?? width / heads }
        set { ownHeadWidth = newValue == width / heads ? nil : newValue }
    }
    /// Whether so many ranks can hold the model together: equally many heads of queries each, and of keys, or equally many ranks
    /// to each head of keys.
    public func canBeSplit(over ranks: Int) -> Bool {
        ranks > 0 && heads % ranks == 0 && (keyValueHeads % ranks == 0 || ranks % keyValueHeads == 0)
    }
    /// The heads of keys of one of so many ranks.
    func keyValueHeads(ofRanks ranks: Int) -> Int { max(1, keyValueHeads / ranks) }
    /// Channels of the first level of a U-Net: 512 beside the paper's models, a quarter of the width beside smaller ones.
    public var unetChannels: Int {
        get { ownUNetChannels ?? usualUNetChannels }
        set { ownUNetChannels = newValue == usualUNetChannels ? nil : newValue }
    }
    private var usualUNetChannels: Int { width >= 768 ? 512 : max(32, width / 128 * 32) }
    public var patchesPerImage: Int { (imageHeight / patchSize) * (imageWidth / patchSize) }
    /// Numbers in one patch vector: rows, columns, channels, with the channel fastest.
    public var patchWidth: Int { patchSize * patchSize * imageChannels }

    /// Llama's feed-forward width for a model width: 8d/3, rounded up to a multiple of 256.
    public static func llamaFeedForward(width: Int) -> Int {
        (8 * width / 3 + 255) / 256 * 256
    }
}

/// Why a model configuration is impossible.
public struct ModelConfigurationProblem: Error, Equatable, CustomStringConvertible {
    /// The configuration key, as in `model.heads`.
    public let key: String
    public let message: String
    public var description: String { "\(key): \(message)" }
}

extension ModelConfiguration {
    /// Everything that is wrong with the configuration; empty when a model can be made of it.
    public func problems() -> [ModelConfigurationProblem] {
        var problems: [ModelConfigurationProblem] = []
        func require(_ holds: Bool, _ key: String, _ message: @autoclosure () -> String) {
            if !holds { problems.append(ModelConfigurationProblem(key: "model." + key, message: message())) }
        }
        guard images == .tokens ? (1..<vocabulary).contains(imageCodes) : imageCodes == 0 else {
            require(false, "images", "\(imageCodes) of \(vocabulary) tokens cannot be codes of images")
            return problems
        }
        let positive = [
            ("layers", layers), ("width", width), ("heads", heads), ("ffn", feedForward), ("vocab", vocabulary),
            ("patch", patchSize), ("image.channels", imageChannels), ("image.height", imageHeight),
            ("image.width", imageWidth),
        ]
        // The bounds keep every product of sizes inside an Int, and the names of all layers' tensors in memory, whatever a
        // file says.
        for (key, value) in positive {
            let most = key == "layers" ? 1 << 16 : 1 << 20
            require((1...most).contains(value), key, "must lie between 1 and \(most), not \(value)")
        }
        guard problems.isEmpty else { return problems }
        // The tensors of a file bound the other sizes; of the image's height and width they say nothing.
        require(
            imageChannels * imageHeight * imageWidth <= 1 << 30, "image.height",
            "an image of \(imageChannels) × \(imageHeight) × \(imageWidth) has more than \(1 << 30) numbers")
        problems += headProblems() + unetProblems()
        require(
            imageHeight % patchSize == 0 && imageWidth % patchSize == 0, "patch",
            "a patch of \(patchSize) does not divide an image of \(imageHeight) × \(imageWidth)")
        for (key, token) in [
            ("bos", beginOfText), ("eos", endOfText), ("boi", beginOfImage), ("eoi", endOfImage),
        ] {
            require(
                token >= 0 && Int(token) < textVocabulary, key,
                "token \(token) lies outside the vocabulary of \(textVocabulary)")
        }
        require(
            rmsNormEpsilon > 0 && rmsNormEpsilon <= 1, "norm_epsilon",
            "must lie above 0 and at most at 1, not at \(rmsNormEpsilon)")
        require((2...1e9).contains(ropeBase), "rope_base", "must lie between 2 and 1e9, not at \(ropeBase)")
        if let scaling = ropeScaling {
            require((1...1e4).contains(scaling.factor), "rope_scaling.factor", "must lie between 1 and 10000")
            require(
                scaling.lowFrequencyFactor > 0 && scaling.lowFrequencyFactor < scaling.highFrequencyFactor
                    && scaling.highFrequencyFactor <= 1e4, "rope_scaling.high_frequency_factor",
                "must lie above the low_frequency_factor \(scaling.lowFrequencyFactor), and both above 0")
            require(
                (1...1 << 24).contains(scaling.originalContext), "rope_scaling.original_context",
                "must lie between 1 and \(1 << 24), not at \(scaling.originalContext)")
        }
        require(beginOfImage != endOfImage, "eoi", "BOI and EOI are the same token \(endOfImage)")
        return problems
    }
}

extension ModelConfiguration {
    private func headProblems() -> [ModelConfigurationProblem] {
        func problem(_ key: String, _ message: String) -> [ModelConfigurationProblem] {
            [ModelConfigurationProblem(key: "model." + key, message: message)]
        }
        guard ownHeadWidth != nil || width % heads == 0 else {
            return problem("heads", "\(heads) heads do not divide the width \(width)")
        }
        guard headWidth > 0, headWidth % 2 == 0 else {
            return ownHeadWidth == nil
                ? problem("heads", "rotary embedding needs an even head width, not \(width)/\(heads)")
                : problem("head_width", "rotary embedding needs an even head width, not \(headWidth)")
        }
        guard headWidth <= 1 << 20, heads * headWidth <= 1 << 20 else {
            return problem("head_width", "\(heads) heads of \(headWidth) have more than \(1 << 20) columns")
        }
        guard keyValueHeads > 0, heads % keyValueHeads == 0 else {
            return problem("kv_heads", "\(keyValueHeads) key-value heads do not divide the \(heads) heads")
        }
        return []
    }
}

extension ModelConfiguration: Codable {
    private enum CodingKeys: String, CodingKey {
        case architectures
        case modelType = "model_type"
        case hiddenAct = "hidden_act"
        case hasTiedEmbeddings = "tie_word_embeddings"
        case keyValueHeads = "num_key_value_heads"
        case headWidth = "head_dim"
        case layers = "num_hidden_layers"
        case width = "hidden_size"
        case heads = "num_attention_heads"
        case feedForward = "intermediate_size"
        case vocabulary = "vocab_size"
        case images
        case imageCodes = "image_codes"
        case patchSize = "patch_size"
        case imageChannels = "image_channels"
        case imageHeight = "image_height"
        case imageWidth = "image_width"
        case beginOfText = "bos_token_id"
        case endOfText = "eos_token_id"
        case beginOfImage = "boi_token_id"
        case endOfImage = "eoi_token_id"
        case rmsNormEpsilon = "rms_norm_eps"
        case ropeBase = "rope_theta"
        case ropeScaling = "rope_scaling"
        case attentionBias = "attention_bias"
        case queryKeyNorm = "qk_norm"
        case norm
        case timestepAfterProjection = "timestep_after_projection"
        case patchCoder = "patch_coder"
        case unetChannels = "unet_channels"
        case rowOptions = "row_options"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func number(_ key: CodingKeys) throws -> Int { try values.decode(Int.self, forKey: key) }
        func token(_ key: CodingKeys) throws -> Int32 { try values.decode(Int32.self, forKey: key) }
        let images = try values.decodeIfPresent(Images.self, forKey: .images) ?? .diffusion
        func image(_ key: CodingKeys) throws -> Int { images == .none ? 1 : try number(key) }
        func patch(_ key: CodingKeys) throws -> Int { images == .diffusion ? try number(key) : 1 }
        self.init(
            layers: try number(.layers), width: try number(.width), heads: try number(.heads),
            feedForward: try number(.feedForward), vocabulary: try number(.vocabulary),
            patchSize: try patch(.patchSize), imageChannels: try patch(.imageChannels),
            imageHeight: try image(.imageHeight), imageWidth: try image(.imageWidth),
            beginOfText: try token(.beginOfText), endOfText: try token(.endOfText),
            beginOfImage: try token(.beginOfImage), endOfImage: try token(.endOfImage))
        self.images = images
        imageCodes = images == .tokens ? try number(.imageCodes) : 0
        ownKeyValueHeads = try values.decodeIfPresent(Int.self, forKey: .keyValueHeads).flatMap {
            $0 == heads ? nil : $0
        }
        ownHeadWidth = try values.decodeIfPresent(Int.self, forKey: .headWidth)
        rmsNormEpsilon = try values.decodeIfPresent(Float.self, forKey: .rmsNormEpsilon) ?? 1e-5
        ropeBase = try values.decodeIfPresent(Float.self, forKey: .ropeBase) ?? 10000
        ropeScaling = try values.decodeIfPresent(RotaryScaling.self, forKey: .ropeScaling)
        hasTiedEmbeddings = try values.decodeIfPresent(Bool.self, forKey: .hasTiedEmbeddings) ?? false
        attentionBias = try values.decodeIfPresent(AttentionBias.self, forKey: .attentionBias) ?? .none
        if let isRMS = try? values.decodeIfPresent(Bool.self, forKey: .queryKeyNorm) {
            queryKeyNorm = isRMS ? .rms : .none
        } else {
            queryKeyNorm = try values.decodeIfPresent(QueryKeyNorm.self, forKey: .queryKeyNorm) ?? .none
        }
        norm = try values.decodeIfPresent(NormPlace.self, forKey: .norm) ?? .pre
        timestepAfterProjection = try values.decodeIfPresent(Bool.self, forKey: .timestepAfterProjection) ?? false
        patchCoder = try values.decodeIfPresent(PatchCoder.self, forKey: .patchCoder) ?? .linear
        if patchCoder == .unet { unetChannels = try number(.unetChannels) }
        rowOptions = try values.decodeIfPresent(RowLayout.Options.self, forKey: .rowOptions) ?? RowLayout.Options()
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(["LlamaForCausalLM"], forKey: .architectures)
        try values.encode("llama", forKey: .modelType)
        try values.encode("silu", forKey: .hiddenAct)
        try values.encode(hasTiedEmbeddings, forKey: .hasTiedEmbeddings)
        try values.encode(keyValueHeads, forKey: .keyValueHeads)
        try values.encodeIfPresent(ownHeadWidth, forKey: .headWidth)
        try values.encode(layers, forKey: .layers)
        try values.encode(width, forKey: .width)
        try values.encode(heads, forKey: .heads)
        try values.encode(feedForward, forKey: .feedForward)
        try values.encode(vocabulary, forKey: .vocabulary)
        switch images {
        case .diffusion:
            try values.encode(patchSize, forKey: .patchSize)
            try values.encode(imageChannels, forKey: .imageChannels)
        case .tokens:
            try values.encode(images, forKey: .images)
            try values.encode(imageCodes, forKey: .imageCodes)
        case .none: try values.encode(images, forKey: .images)
        }
        if images != .none {
            try values.encode(imageHeight, forKey: .imageHeight)
            try values.encode(imageWidth, forKey: .imageWidth)
        }
        try values.encode(beginOfText, forKey: .beginOfText)
        try values.encode(endOfText, forKey: .endOfText)
        try values.encode(beginOfImage, forKey: .beginOfImage)
        try values.encode(endOfImage, forKey: .endOfImage)
        try values.encode(rmsNormEpsilon, forKey: .rmsNormEpsilon)
        try values.encode(ropeBase, forKey: .ropeBase)
        // What plain models do not have is left out, as other readers of a Llama's description take it for something else.
        try values.encodeIfPresent(ropeScaling, forKey: .ropeScaling)
        if attentionBias != .none { try values.encode(attentionBias, forKey: .attentionBias) }
        switch queryKeyNorm {
        case .none: break
        case .rms: try values.encode(true, forKey: .queryKeyNorm)
        case .layer: try values.encode(queryKeyNorm, forKey: .queryKeyNorm)
        }
        if norm != .pre { try values.encode(norm, forKey: .norm) }
        try values.encode(timestepAfterProjection, forKey: .timestepAfterProjection)
        if patchCoder != .linear {
            try values.encode(patchCoder, forKey: .patchCoder)
            try values.encode(unetChannels, forKey: .unetChannels)
        }
        try values.encode(rowOptions, forKey: .rowOptions)
    }
}
