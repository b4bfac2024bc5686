public import TransfusionData
internal import TransfusionSupport

/// Draws prompts part by part, as measures share them among ranks; in the same way as `ImageRequest` draws them all.
public struct PromptDrawing {
    private let model: LoadedModel
    private let coder: PictureCoder
    private let settings: ImageSettings

    /// - Throws: `CommandFailure` for a model without images, or of latents without their autoencoder; `SettingError`.
    public init(_ model: LoadedModel, _ settings: ImageSettings) throws {
        if let problem = settings.problem { throw problem }
        self.model = model
        coder = try model.pictureCoder()
        self.settings = try settings.settings(for: coder)
    }

    /// Prompt i is number `first + i` of all: its picture is called by that number, and uses the seed `seed + first + i`.
    public func pictures(
        of prompts: [String], first: Int, seed: UInt64
    ) throws -> [(record: PictureRecord, picture: Picture)] {
        let prompts = try prompts.map { try Prompt($0, model.tokenizer) }
        return try model.generator.images(of: prompts, first: first, seed: seed, settings).map { record, image in
            (record, coder.picture(of: image))
        }
    }

    /// Refuses a data set whose images are not of the model's form.
    public func check(_ dataset: PackedDataset) throws { try DatasetPrompts.check(dataset, for: model) }

    /// The picture of an image of a data set, as the model would have drawn it.
    public func picture(of image: [Float]) -> Picture { coder.picture(of: image) }

    /// What picture `number` is called.
    public static func name(_ number: Int) -> String { PictureDirectory.name(number) }

    /// As a PNG that says how it was made.
    public func write(_ drawn: (record: PictureRecord, picture: Picture), to path: String) throws {
        let metadata = PictureMetadata(model: model.name, settings: settings)
        try PictureDirectory.write(drawn.picture, text: try metadata.chunks(drawn.record, of: drawn.picture), to: path)
    }

    /// Refuses a place for new files where there is something already, or where nothing can be written.
    public static func requireFree(_ path: String) throws { try PictureDirectory.requireFree(path) }
}
