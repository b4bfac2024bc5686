internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionModels

/// The weights of another model that a run starts from. The optimizer begins anew, and so do the steps.
struct InitialWeights {
    /// What a person should know of them.
    let report: String
    private let weights: ModelWeights

    /// - Parameters:
    ///   - tokenizer: The digest of the tokenizer of the run's data set.
    ///   - seed: Draws what a plain Llama does not have.
    /// - Throws: `CommandFailure` that names each way in which the model is not the run's, or why it cannot be opened.
    init(
        _ path: String, for model: ModelConfiguration, tokenizer: String, seed: UInt64, options: CheckpointOptions
    ) throws {
        var images = ImageOptions(
            patchSize: model.patchSize, channels: model.imageChannels, height: model.imageHeight,
            width: model.imageWidth, timestepAfterProjection: model.timestepAfterProjection, seed: seed)
        images.images = model.images
        images.codes = model.imageCodes
        images.patchCoder = model.patchCoder
        if model.patchCoder == .unet { images.unetChannels = model.unetChannels }
        do {
            weights = try WeightFormat(detectedAt: path).open(path, images: images, options: options)
        } catch {
            throw CommandFailure("model.initial_weights: \(error)", .wrongUse)
        }
        var problems = Self.differences(weights.configuration, model)
        if let theirs = weights.tokenizer, theirs != tokenizer {
            problems.append(
                "the tokenizer \(theirs.prefix(12))…, the data set \(tokenizer.prefix(12))…\(Self.otherData)")
        }
        guard problems.isEmpty else {
            throw CommandFailure(problems.map { "model.initial_weights: \(path) has \($0)" }, .wrongUse)
        }
        let drawn = weights.drawn, passedOver = weights.passedOver
        report =
            "starting from the weights of \(path)"
            + (drawn.isEmpty ? "" : "; it lacks these, which are drawn from the seed: " + drawn.joined(separator: ", "))
            + (passedOver.isEmpty ? "" : "; not read: " + passedOver.joined(separator: ", "))
    }

    /// Fills this rank's part of every parameter.
    func load(into store: ParameterStore) throws {
        try weights.load(into: store)
    }

    /// Where two models are too different for the weights of one to mean the same in the other. Sizes of images and which
    /// rows see each other may change.
    private static func differences(_ theirs: ModelConfiguration, _ ours: ModelConfiguration) -> [String] {
        func compare<Value: Equatable>(_ key: String, _ value: KeyPath<ModelConfiguration, Value>) -> String? {
            guard theirs[keyPath: value] != ours[keyPath: value] else { return nil }
            return "\(key) \(theirs[keyPath: value]), the run \(ours[keyPath: value])"
        }
        let remedy = "; set the key to its value, or choose other weights"
        // The sizes of images that are none say nothing.
        if let difference = compare("model.images", \.images) { return [difference + remedy] }
        let keys = [
            compare("model.layers", \.layers), compare("model.width", \.width), compare("model.heads", \.heads),
            compare("model.kv_heads", \.keyValueHeads), compare("model.head_width", \.headWidth),
            compare("model.ffn", \.feedForward), compare("model.patch", \.patchSize),
            compare("model.norm_epsilon", \.rmsNormEpsilon), compare("model.rope_base", \.ropeBase),
            compare("model.rope_scaling.factor", \.scaling.factor),
            compare("model.rope_scaling.low_frequency_factor", \.scaling.lowFrequencyFactor),
            compare("model.rope_scaling.high_frequency_factor", \.scaling.highFrequencyFactor),
            compare("model.rope_scaling.original_context", \.scaling.originalContext),
            compare("model.tied_embeddings", \.hasTiedEmbeddings),
            compare("model.attention_bias", \.attentionBias.rawValue),
            compare("model.qk_norm", \.queryKeyNorm.rawValue),
            compare("model.norm", \.norm.rawValue),
            compare("model.timestep_after_projection", \.timestepAfterProjection),
            compare("model.patch_coder", \.patchCoder.rawValue), compare("model.unet_channels", \.channelsOfUNet),
        ].compactMap(\.self).map { $0 + remedy }
        guard theirs.textVocabulary <= ours.textVocabulary else {
            // BOI and EOI come after the vocabulary: they differ too, and need no line of their own.
            let pieces = ours.textVocabulary - 2
            return keys + [
                "\(theirs.textVocabulary - 2) rows of text embeddings, the run's tokenizer \(pieces) pieces; choose data made with "
                    + "the model's own tokenizer, or, if the other rows are padding, cut them off: in transformers, "
                    + "model.resize_token_embeddings(\(pieces))"
            ]
        }
        let tokens = [
            compare("a vocabulary of", \.textVocabulary), compare("image channels", \.imageChannels),
            compare("a number of image codes of", \.imageCodes),
            compare("the begin-of-text token", \.beginOfText), compare("the end-of-text token", \.endOfText),
            compare("the begin-of-image token", \.beginOfImage), compare("the end-of-image token", \.endOfImage),
        ].compactMap(\.self)
        return keys + tokens.map { $0 + otherData }
    }

    private static let otherData = "; choose other weights, or data made with the model's tokenizer"
}

extension ModelConfiguration {
    /// Its factor is 1 when nothing is scaled.
    fileprivate var scaling: RotaryScaling { ropeScaling ?? RotaryScaling() }
    /// 0 without a U-Net.
    fileprivate var channelsOfUNet: Int { patchCoder == .unet ? unetChannels : 0 }
}
