public import TransfusionConfig
internal import TransfusionModels

extension RunConfiguration {
    /// Reads a configuration file, as `load` does. One that names no size of the model takes all of them, and its options,
    /// from the model of `model.initial_weights`.
    public static func loadWithInitialWeights(
        _ path: String, overrides: [String] = []
    ) throws(ConfigurationError) -> RunConfiguration {
        try load(path, overrides: overrides) { configuration in
            guard let path = configuration.model.initialWeights else { return nil }
            var options = CheckpointOptions()
            if let keyFile = configuration.checkpoint.encryptionKeyFile { options.keyFile = keyFile }
            let weights = try WeightFormat(detectedAt: path).open(path, options: options)
            return DescribedModel(weights.configuration, hasImages: weights.drawn.isEmpty)
        }
    }
}
