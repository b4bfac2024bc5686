public import TransfusionConfig
public import TransfusionCore
public import TransfusionData
public import TransfusionModels

/// The pictures that a training run draws of its fixed prompts, to see how far it is.
public struct TrainingSamples {
    /// A picture as it lies in its file.
    public struct Sample: Sendable {
        public let png: [UInt8]
        public let width: Int
        public let height: Int

        init(_ picture: Picture) throws {
            png = try PNG.encode(rgb: picture.rgb, width: picture.width, height: picture.height)
            width = picture.width
            height = picture.height
        }
    }

    private let prompts: [Prompt]
    private let settings: ImageSettings
    private let seed: UInt64
    /// A data set of latents, which has their autoencoder; nil with pictures.
    private let latents: PackedDataset?

    /// - Parameter latents: A data set of latents with their autoencoder; nil for a model of pixels.
    /// - Throws: When a prompt cannot be encoded, or the autoencoder is not that of the latents.
    public init(_ configuration: RunConfiguration, tokenizer: Tokenizer, latents: PackedDataset? = nil) throws {
        self.latents = latents
        if configuration.samples.everySteps != nil, let latents { try PictureCoder.check(latents) }
        prompts = try configuration.samples.prompts.map { try Prompt($0, tokenizer) }
        var settings = ImageSettings()
        settings.steps = configuration.samples.diffusionSteps
        settings.guidanceScale = configuration.samples.guidanceScale
        self.settings = settings
        seed = UInt64(truncatingIfNeeded: configuration.seed)
    }

    /// Draws every prompt with the model as it is now, always from the same noise, into
    /// `samples/step-NNNNNNNN/{000000.png …, prompts.jsonl, grid.png}`.
    ///
    /// - Parameters:
    ///   - context: The context of the training; it must not be recording.
    ///   - contextLength: Rows of a training sequence.
    ///   - run: Where the pictures go; nil on a rank that only lends its part of the model.
    /// - Returns: The pictures in the order of the prompts.
    public func draw(
        _ model: TransfusionModel, _ context: Context, contextLength: Int, step: Int, into run: RunDirectory?
    ) throws -> [Sample] {
        guard !prompts.isEmpty else { return [] }
        var settings = settings
        settings.clipsImage = latents == nil
        let tokens = model.configuration.images == .tokens ? model.configuration.patchesPerImage : nil
        if let tokens { settings.draw(tokens: tokens) }
        let images = try Generator(model, context, contextLength: contextLength)
            .images(of: prompts, seed: seed, settings)
        guard let run else { return [] }
        // Its memory goes back when the pictures are made.
        let own = Context(pool: context.pool, type: context.type)
        let coder =
            try latents.map { try PictureCoder(of: $0, for: model.configuration, own) }
            ?? PictureCoder(pixelsOf: model.configuration)
        let drawn = images.map { (record: $0.record, picture: coder.picture(of: $0.image)) }
        let directory = try PictureDirectory(Self.path(step, in: run))
        try directory.write(drawn, PictureMetadata(model: "step \(step)", settings: settings))
        try PictureDirectory.write(Self.grid(drawn), to: directory.path + "/grid.png")
        return try drawn.map { try Sample($0.picture) }
    }

    /// Writes pictures beside what an autoencoder makes of them, into
    /// `samples/step-NNNNNNNN/{000000.png …, grid.png}`.
    ///
    /// - Returns: The pairs as one picture each, the original on the left.
    public static func writeReconstructions(
        _ pairs: [(original: Picture, reconstruction: Picture)], step: Int, into run: RunDirectory
    ) throws -> [Sample] {
        let directory = try PictureDirectory(path(step, in: run))
        var samples: [Sample] = []
        for (number, pair) in pairs.enumerated() {
            var picture = Picture(width: 2 * pair.original.width, height: pair.original.height)
            picture.draw(pair.original, x: 0, y: 0)
            picture.draw(pair.reconstruction, x: pair.original.width, y: 0)
            try PictureDirectory.write(picture, to: directory.path + "/" + PictureDirectory.name(number))
            samples.append(try Sample(picture))
        }
        let entries = pairs.enumerated().map { number, pair in
            ContactSheet.Entry(label: "picture \(number)", pictures: [pair.original, pair.reconstruction])
        }
        try PictureDirectory.write(
            try ContactSheet(entries: entries, columns: 4).render(), to: directory.path + "/grid.png")
        return samples
    }

    /// Where the samples of a step go.
    private static func path(_ step: Int, in run: RunDirectory) -> String {
        let digits = String(step)
        return run.samples + "/step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    private static func grid(_ drawn: [(record: PictureRecord, picture: Picture)]) throws -> Picture {
        let entries = drawn.map { ContactSheet.Entry(label: $0.record.prompt, pictures: [$0.picture]) }
        return try ContactSheet(entries: entries, columns: 8).render()
    }
}
