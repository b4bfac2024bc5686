public import TransfusionConfig
internal import TransfusionCore

extension BatchSettings {
    /// How a run's configuration wants its batches.
    public init(_ configuration: RunConfiguration) {
        self.init(
            sequenceLength: configuration.batch.sequenceLength, globalSequences: configuration.batch.globalSequences,
            seed: UInt64(configuration.seed))
        captionFirst = configuration.data.captionFirst
        captionDropout = configuration.data.captionDropout
        noiseCap = configuration.data.noiseCap
        textToImageRatio = configuration.data.textImageRatio
        longestCaption = configuration.data.maxCaptionTokens
        horizontalFlip = configuration.data.horizontalFlip
    }
}

extension BatchSource {
    /// The batches of a run, from the training splits of its data sets, for the model that its configuration makes of them.
    ///
    /// - Parameter ranks: The processes that will train; nil when not known yet.
    /// - Throws: `ConfigurationError` and `DataError`, which say what does not fit and what would.
    public convenience init(_ configuration: RunConfiguration, data: DataMixture, ranks: Int? = nil) throws {
        guard configuration.task == .transfusion else {
            throw DataError(
                wrongUse: "task: \(configuration.task.rawValue) has pictures alone in its batches, and no rows")
        }
        let image = data.image, tokens = data.tokens
        let problems = configuration.problems(
            ranks: ranks, imageChannels: image.channels, imageCodes: image.codes, decodesLatents: data.latents != nil,
            imageHeight: image.height, imageWidth: image.width)
        guard problems.isEmpty else { throw ConfigurationError(problems: problems) }
        let model = configuration.modelConfiguration(
            vocabulary: tokens.vocabulary, imageCodes: image.codes ?? 0, imageChannels: image.channels,
            imageHeight: image.height, imageWidth: image.width, beginOfText: tokens.beginOfText,
            endOfText: tokens.endOfText, beginOfImage: tokens.beginOfImage, endOfImage: tokens.endOfImage)
        try self.init(data: data, settings: BatchSettings(configuration), model: model)
    }
}
