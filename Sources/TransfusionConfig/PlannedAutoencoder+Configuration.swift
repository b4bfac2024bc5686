public import TransfusionModels

extension RunConfiguration {
    /// The autoencoder that a run trains on pictures of a size.
    public func autoencoderConfiguration(channels: Int, height: Int) -> AutoencoderConfiguration {
        var result = autoencoder.preset.configuration(autoencoder.kind)
        result.pictureChannels = channels
        result.pictureSize = height
        result.codeNorm = autoencoder.codeNorm
        // The scale of its latents is known when it is trained.
        result.latentScale = 1
        return result
    }

    /// Why the autoencoder cannot be trained on pictures of a size: the end of a sentence about them.
    public func autoencoderProblem(height: Int, width: Int) -> String? {
        let side = autoencoder.preset.configuration(autoencoder.kind).downsampling
        guard height % side != 0 || width % side != 0 else { return nil }
        return "has pictures of \(height) × \(width), and autoencoder.preset \(autoencoder.preset) makes a latent of "
            + "\(side) × \(side) pixels; take another preset, or pictures of another size"
    }
}

extension PlannedAutoencoder {
    /// What a run with `task: autoencoder` trains on pictures of a size.
    public init(_ configuration: RunConfiguration, channels: Int, height: Int, width: Int) {
        self.init(
            configuration.autoencoderConfiguration(channels: channels, height: height), height: height, width: width)
        let objective = configuration.objective, settings = configuration.discriminator
        trainsCodebook = configuration.autoencoder.codebook == .gradient
        averagesWeights = configuration.autoencoder.averageDecay != nil
        if settings.start != nil {
            discriminator = PatchDiscriminator.Configuration(
                channels: channels, width: settings.width, layers: settings.layers)
        }
        weighsAdaptively = settings.weighting == .adaptive
        hasPerceptualNetwork = objective.perceptualNetwork != nil && objective.perceptualWeight > 0
        hasIdentityNetwork = objective.identityNetwork != nil && objective.identityWeight > 0
    }
}
