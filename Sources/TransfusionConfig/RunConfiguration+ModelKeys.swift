internal import TransfusionCore
internal import TransfusionModels

/// Keys of the Transfusion model.
extension ConfigurationKey {
    static let modelKeys: [ConfigurationKey] = [
        ConfigurationKey(
            "model.preset", \.model.preset, .preset, default: .inWords("no preset"),
            "Sets layers, width, heads and ffn to one of the paper's sizes, or to a laptop's. Keys below override it."),
        ConfigurationKey(
            "model.layers", \.model.layers, .integer(1...1024), default: .inWords("the preset's"),
            "Transformer blocks."),
        ConfigurationKey(
            "model.width", \.model.widthWithFeedForward, .integer(2...65536), default: .inWords("the preset's"),
            "Numbers in the hidden state of a row."),
        ConfigurationKey(
            "model.heads", \.model.heads, .integer(1...1024), default: .inWords("the preset's"),
            "Attention heads; they divide the width into equal even parts, unless head_width is set."),
        ConfigurationKey(
            "model.kv_heads", \.model.keyValueHeads, .either("auto", or: .integer(1...1024)),
            "Heads of keys and values, which heads of queries share in groups of equal size (grouped-query attention); they "
                + "divide the heads. With auto, as many as heads."),
        ConfigurationKey(
            "model.head_width", \.model.headWidth, .either("auto", or: .integer(2...65536)),
            "Columns of a head; even. With auto, an equal part of the width."),
        ConfigurationKey(
            "model.ffn", \.model.feedForward, .integer(1...262144),
            default: .inWords("the preset's, or 8/3 of the width, rounded up to a multiple of 256"),
            "Hidden width of SwiGLU."),
        ConfigurationKey(
            "model.images", \.model.images, .choice,
            "What images are to the model: patches in which it finds the noise (diffusion); codes of a codebook, which are "
                + "tokens after those of the text (tokens), as in Chameleon; or none: a plain Llama, trained on the plain text "
                + "of the data only."),
        ConfigurationKey(
            "model.patch", \.model.patch, .integer(1...256),
            "Side of the square of image points that makes one row; it divides the image's height and width. With images as "
                + "tokens, each is a row."),
        ConfigurationKey(
            "model.patch_coder", \.model.patchCoder, .choice,
            "What turns patches into rows and back: a linear map each way, or the halves of a U-Net with skips past the "
                + "transformer, which makes better pictures and takes 0.27 billion weights more at the paper's sizes."),
        ConfigurationKey(
            "model.unet_channels", \.model.unetChannels, .either("auto", or: .integer(32...4096)),
            "Channels of the U-Net's levels but the last, which has twice as many; a multiple of 32. With auto, 512 from a "
                + "width of 768 on, and a quarter of the width below."),
        ConfigurationKey(
            "model.initial_weights", \.model.initialWeights, .either("none", or: path),
            "A model to start from: a run, a checkpoint, a directory with safetensors, or a Llama as Hugging Face or Meta "
                + "keep it, whose missing weights for images are drawn from the seed; of an autoencoder, also one of diffusers. "
                + "A file without preset, layers, width and heads takes the model's sizes and options. "
                + "With none, all weights are drawn."
        ),
        ConfigurationKey(
            "model.norm_epsilon", \.model.normEpsilon, .positiveNumber(to: 1),
            "Added to the mean of squares in RMSNorm; as the model of initial_weights has it."),
        ConfigurationKey(
            "model.timestep_after_projection", \.model.timestepAfterProjection, .flag,
            "Adds the diffusion time to a patch after its projection to the model's width, instead of before it."),
        ConfigurationKey(
            "model.rope_base", \.model.ropeBase, .number(2...1e9),
            "Base of the rotary embedding's wavelengths. Smaller tells near rows apart better, larger reaches further."),
        ConfigurationKey(
            "model.rope_scaling.factor", \.model.ropeScaling.factor, .number(1...10000),
            "Stretches the rotary embedding's long wavelengths so many times, as Llama 3.1 does to reach beyond the context "
                + "that it was trained on. With 1 nothing is stretched."),
        ConfigurationKey(
            "model.rope_scaling.low_frequency_factor", \.model.ropeScaling.lowFrequencyFactor,
            .positiveNumber(to: 10000),
            "Wavelengths above original_context over this are stretched by the whole factor."),
        ConfigurationKey(
            "model.rope_scaling.high_frequency_factor", \.model.ropeScaling.highFrequencyFactor,
            .positiveNumber(to: 10000),
            "Wavelengths below original_context over this stay as they are."),
        ConfigurationKey(
            "model.rope_scaling.original_context", \.model.ropeScaling.originalContext, .integer(1...1 << 24),
            "Rows of the sequences that the model was trained on at first."),
        ConfigurationKey(
            "model.tied_embeddings", \.model.hasTiedEmbeddings, .flag,
            "Uses one table as embedding of the tokens and as head, as small models of the Llama family do."),
        ConfigurationKey(
            "model.attention_bias", \.model.attentionBias, .choice,
            "Which of the attention's products have a bias: none, those of queries, keys and values (Qwen2), or the output's "
                + "too."),
        ConfigurationKey(
            "model.qk_norm", \.model.queryKeyNorm, .choice,
            "Normalises each head of queries and keys before the rotary embedding: by its root mean square (true), as Qwen3 "
                + "does, or with LayerNorm (layer), as Chameleon does."),
        ConfigurationKey(
            "model.norm", \.model.norm, .choice,
            "Whether a block's norms stand before attention and feed-forward network (pre), as in Llama, or after them (post)."
        ),
        ConfigurationKey(
            "model.shared_image_position", \.model.rowOptions.sharedImagePosition, .flag,
            "Gives all patches of an image one position for rotary embedding, instead of consecutive ones."),
        ConfigurationKey(
            "model.attend_across_documents", \.model.rowOptions.attendAcrossDocuments, .flag,
            "Lets the documents packed into a sequence see those before them."),
        ConfigurationKey(
            "model.end_of_image_is_target", \.model.rowOptions.endOfImageIsTarget, .flag,
            "Trains the last patch of an image to predict the end-of-image token."),
        ConfigurationKey(
            "model.causal_images", \.model.rowOptions.causalImages, .flag,
            "Lets a patch see only those patches of its image that stand before it, instead of all."),
    ]
}

extension ValueForm where Value == ModelPreset? {
    /// Sizes that are no preset have no name; the keys of the sizes say the same, so the preset is never written.
    fileprivate static var preset: ValueForm {
        let choice = ValueForm<ModelPreset>.choice
        return ValueForm(description: choice.description) { node throws(UnsuitableValue) in
            try choice.read(node)
        } write: { _ in
            nil
        }
    }
}
