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

    /// - Throws: When a prompt cannot be encoded.
    public init(_ configuration: RunConfiguration, tokenizer: Tokenizer) throws {
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
        settings.clipsImage = true
        let drawn = try Generator(model, context, contextLength: contextLength)
            .pictures(of: prompts, seed: seed, settings)
        guard let run else { return [] }
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
