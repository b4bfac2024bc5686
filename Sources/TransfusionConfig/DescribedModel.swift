import TransfusionCore
public import TransfusionModels

/// What the files of a model say of it, for a run that starts from its weights.
public struct DescribedModel: Sendable {
    public var configuration: ModelConfiguration
    /// Whether it says how the model sees images; of a plain Llama nothing is known.
    public var hasImages: Bool

    public init(_ configuration: ModelConfiguration, hasImages: Bool) {
        self.configuration = configuration
        self.hasImages = hasImages
    }
}

extension RunConfiguration.Model {
    /// Takes the sizes and options of another model.
    /// - Parameter isFree: Whether no key of the run says another value for the option of this name.
    mutating func take(_ model: DescribedModel, where isFree: (_ key: String) -> Bool) {
        let other = model.configuration
        func take<Value>(_ key: String, _ place: WritableKeyPath<Self, Value>, _ value: Value) {
            if isFree(key) { self[keyPath: place] = value }
        }
        (layers, width, heads) = (other.layers, other.width, other.heads)
        take("ffn", \.feedForward, other.feedForward)
        take("kv_heads", \.keyValueHeads, other.keyValueHeads == other.heads ? nil : other.keyValueHeads)
        take("head_width", \.headWidth, other.headWidth * other.heads == other.width ? nil : other.headWidth)
        take("norm_epsilon", \.normEpsilon, Self.shortest(other.rmsNormEpsilon))
        take("rope_base", \.ropeBase, Self.shortest(other.ropeBase))
        let scaling = other.ropeScaling ?? ropeScaling
        take("rope_scaling.factor", \.ropeScaling.factor, scaling.factor)
        take("rope_scaling.low_frequency_factor", \.ropeScaling.lowFrequencyFactor, scaling.lowFrequencyFactor)
        take("rope_scaling.high_frequency_factor", \.ropeScaling.highFrequencyFactor, scaling.highFrequencyFactor)
        take("rope_scaling.original_context", \.ropeScaling.originalContext, scaling.originalContext)
        take("tied_embeddings", \.hasTiedEmbeddings, other.hasTiedEmbeddings)
        take("attention_bias", \.attentionBias, other.attentionBias)
        take("qk_norm", \.queryKeyNorm, other.queryKeyNorm)
        take("norm", \.norm, other.norm)
        guard model.hasImages else { return }
        take("patch", \.patch, other.patchSize)
        take("patch_coder", \.patchCoder, other.patchCoder)
        if other.patchCoder == .unet { take("unet_channels", \.unetChannels, other.unetChannels) }
        take("timestep_after_projection", \.timestepAfterProjection, other.timestepAfterProjection)
        take("shared_image_position", \.rowOptions.sharedImagePosition, other.rowOptions.sharedImagePosition)
        take("attend_across_documents", \.rowOptions.attendAcrossDocuments, other.rowOptions.attendAcrossDocuments)
        take("end_of_image_is_target", \.rowOptions.endOfImageIsTarget, other.rowOptions.endOfImageIsTarget)
        take("causal_images", \.rowOptions.causalImages, other.rowOptions.causalImages)
    }

    /// The shortest decimal of the number, which a configuration shows: 1e-05, not 9.999999747378752e-06.
    private static func shortest(_ value: Float) -> Double { Double(value.description) ?? Double(value) }
}
