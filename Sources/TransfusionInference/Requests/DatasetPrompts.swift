internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
import TransfusionModels

/// The captions of a data set as prompts: first those trained on, then those held out.
struct DatasetPrompts {
    let prompts: [Prompt]
    private let dataset: PackedDataset
    /// The real image of each prompt.
    private let images: [Int]
    private let colours: DominantColour?
    private let coder: PictureCoder

    init(_ dataset: PackedDataset, _ model: LoadedModel, _ coder: PictureCoder, _ selection: ImageRequest.Prompts)
        throws
    {
        try Self.check(dataset, for: model)
        self.dataset = dataset
        self.coder = coder
        colours = try DominantColour(dataset: dataset)
        var limit: Int?
        if case .dataset(_, let given) = selection { limit = given }
        var prompts: [Prompt] = []
        var images: [Int] = []
        var seen: Set<String> = []
        for split in dataset.manifest.splits where ["train", "held_out"].contains(split.name) {
            let isHeldOut = split.name == "held_out"
            for index in split.pairRange.prefix(isHeldOut ? split.pairs : limit ?? split.pairs) {
                let pair = try dataset.pair(index)
                guard pair.original == nil else { continue }
                let tokens = try dataset.caption(pair)
                let text = try dataset.tokenizer.decode(tokens)
                guard seen.insert(text).inserted else { continue }
                prompts.append(Prompt(text, tokens: tokens, heldOut: isHeldOut))
                images.append(pair.image)
            }
        }
        guard !prompts.isEmpty else {
            throw CommandFailure("\(dataset.path): has no pair to draw in its splits train and held_out", .wrongUse)
        }
        self.prompts = prompts
        self.images = images
    }

    /// Refuses a data set whose images are not of the model's form.
    static func check(_ dataset: PackedDataset, for model: LoadedModel) throws {
        let shape = dataset.manifest.image, configuration = model.archive.configuration
        guard shape.channels == configuration.imageChannels, shape.width == configuration.imageWidth,
            shape.height == configuration.imageHeight, shape.codes ?? 0 == configuration.imageCodes
        else {
            func form(_ width: Int, _ height: Int, _ channels: Int, _ codes: Int) -> String {
                "\(width) × \(height) × \(channels)" + (codes == 0 ? "" : " of \(codes) codes")
            }
            let theirs = form(shape.width, shape.height, shape.channels, shape.codes ?? 0)
            let ours = form(
                configuration.imageWidth, configuration.imageHeight, configuration.imageChannels,
                configuration.imageCodes)
            throw CommandFailure(
                "\(dataset.path): its images are \(theirs), the model's \(ours); "
                    + "give the data set that the model was trained on", .wrongUse)
        }
    }

    func realPicture(_ prompt: Int) throws -> Picture { coder.picture(of: try dataset.image(images[prompt])) }

    /// Says of each picture whose prompt names a colour which one that is, and which one the picture has.
    func nameColours(of drawn: inout [(record: PictureRecord, picture: Picture)]) throws {
        guard let colours else { return }
        for i in drawn.indices {
            guard let name = ShapeName(drawn[i].record.prompt) else { continue }
            drawn[i].record.expectedColour = name.colour
            drawn[i].record.colour = colours.name(of: drawn[i].picture)
        }
    }
}
