internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// Between the images of a model and pictures: pixels are pictures already, latents and codes become pictures by their
/// autoencoder.
struct PictureCoder {
    /// Channels, height and width of an image.
    private let channels: Int
    private let height: Int
    private let width: Int
    /// Whether the numbers of an image are those of codes.
    private let hasCodes: Bool
    /// Nil for pixels.
    private let autoencoder: Autoencoder?
    private let context: Context?

    /// - Parameter configuration: Of a model of RGB pixels.
    init(pixelsOf configuration: ModelConfiguration) {
        (channels, height, width) = (3, configuration.imageHeight, configuration.imageWidth)
        (hasCodes, autoencoder, context) = (false, nil, nil)
    }

    /// - Parameters:
    ///   - shape: Channels, height and width of a latent.
    ///   - codes: How many codes there are, where an image is their numbers; nil for latents.
    ///   - owner: Whose latents they are, for errors.
    ///   - digest: Of the autoencoder that made them, when that is known.
    ///   - context: What it computes with.
    /// - Throws: `CommandFailure` when the autoencoder is another one, `CheckpointError` when it cannot be read.
    init(
        _ weights: AutoencoderWeights, shape: (channels: Int, height: Int, width: Int), codes: Int? = nil,
        of owner: String, digest: String?, _ context: Context
    ) throws {
        try Self.check(weights, channels: shape.channels, codes: codes, of: owner)
        if let digest {
            let other = try weights.digest()
            guard other == digest else {
                throw CommandFailure(
                    "\(owner): has latents of the autoencoder \(digest.prefix(12))…, and \(weights.path) is "
                        + "\(other.prefix(12))…; give the right autoencoder", .wrongUse)
            }
        }
        (channels, height, width) = shape
        hasCodes = codes != nil
        let model = Autoencoder(weights.configuration, context)
        try weights.load(into: model.parameters)
        (autoencoder, self.context) = (model, context)
    }

    /// Refuses an autoencoder of RGB pictures whose latents or codes cannot be those of a model, and one of other pictures.
    static func check(_ weights: AutoencoderWeights, channels: Int, codes: Int?, of owner: String) throws {
        let configuration = weights.configuration
        let own = configuration.kind == .vq ? configuration.codes : nil
        if let codes, codes != own {
            throw CommandFailure(
                "\(owner): has images of \(codes) codes, and the autoencoder \(weights.path) has "
                    + "\(own.map { "\($0)" } ?? "none"); give the right autoencoder", .wrongUse)
        }
        guard codes != nil || configuration.latentChannels == channels else {
            throw CommandFailure(
                "\(owner): has images of \(channels) channels, and the autoencoder \(weights.path) makes latents of "
                    + "\(configuration.latentChannels); give the right autoencoder", .wrongUse)
        }
        guard configuration.pictureChannels == 3 else {
            throw CommandFailure(
                "\(weights.path): is for pictures of \(configuration.pictureChannels) channels; RGB pictures have 3",
                .wrongUse)
        }
    }

    var hasLatents: Bool { autoencoder != nil }
    /// Tokens of an image; nil where its numbers are no codes.
    var tokens: Int? { hasCodes ? height * width : nil }

    /// Pixels along the side of a number of an image.
    private var side: Int { autoencoder?.configuration.downsampling ?? 1 }

    /// The same for images of another size, in multiples of the autoencoder's `downsampling`.
    /// - Parameters:
    ///   - height: Of pictures.
    ///   - width: Of pictures.
    func latents(height: Int, width: Int) -> PictureCoder {
        PictureCoder(self, height: height / side, width: width / side)
    }

    private init(_ other: PictureCoder, height: Int, width: Int) {
        channels = other.channels
        self.height = height
        self.width = width
        hasCodes = other.hasCodes
        (autoencoder, context) = (other.autoencoder, other.context)
    }

    /// The picture of an image `[channels, height, width]`.
    func picture(of image: [Float]) -> Picture {
        guard let autoencoder, let context else { return Picture(width: width, height: height, planes: image) }
        let configuration = autoencoder.configuration
        let latents =
            hasCodes
            ? autoencoder.latents(ofCodes: image.map { Int32($0) }, [1, height, width], context)
            : context.pictures(
                image.map { $0 / Float(configuration.latentScale) + Float(configuration.latentShift) },
                [1, channels, height, width])
        let pixels = autoencoder.pictures(of: latents, context)
        return Picture(width: width * side, height: height * side, planes: context.channelsFirst(pixels))
    }

    /// The image of a picture, whose middle is brought to the proportions and size that the model knows.
    func image(of picture: Picture) -> [Float] {
        let pixels = Self.middle(of: picture, width: width * side, height: height * side).planes.map {
            Float($0) / 127.5 - 1
        }
        guard let autoencoder, let context else { return pixels }
        let configuration = autoencoder.configuration
        let pictures = context.pictures(pixels, [1, 3, height * side, width * side])
        if hasCodes { return autoencoder.codes(of: pictures, context).map { Float($0) } }
        return context.channelsFirst(autoencoder.latents(of: pictures, context)).map {
            ($0 - Float(configuration.latentShift)) * Float(configuration.latentScale)
        }
    }

    /// The middle of a picture in the proportions of a size, and brought to it.
    static func middle(of picture: Picture, width: Int, height: Int) -> Picture {
        var middle = picture
        if picture.width * height != picture.height * width {
            let cutWidth = max(1, min(picture.width, picture.height * width / height))
            let cutHeight = max(1, min(picture.height, picture.width * height / width))
            middle = Picture(width: cutWidth, height: cutHeight)
            middle.draw(picture, x: -(picture.width - cutWidth) / 2, y: -(picture.height - cutHeight) / 2)
        }
        return middle.width == width && middle.height == height ? middle : middle.resized(width: width, height: height)
    }
}

extension PictureCoder {
    /// The coder of a data set of latents that names its autoencoder, or of one of pictures.
    /// - Parameter context: What the autoencoder computes with.
    init(of dataset: PackedDataset, for model: ModelConfiguration, _ context: Context) throws {
        guard let path = dataset.autoencoderPath, let made = dataset.manifest.autoencoder else {
            self.init(pixelsOf: model)
            return
        }
        let image = dataset.manifest.image
        try self.init(
            Self.weights(of: dataset, at: path), shape: (image.channels, image.height, image.width), codes: image.codes,
            of: dataset.path, digest: made.digest, context)
    }

    /// Refuses a data set whose copy of the autoencoder is not what it says, as far as that is seen without reading it.
    static func check(_ dataset: PackedDataset) throws {
        guard let path = dataset.autoencoderPath else { return }
        _ = try weights(of: dataset, at: path)
    }

    private static func weights(of dataset: PackedDataset, at path: String) throws -> AutoencoderWeights {
        let weights = try AutoencoderWeights(path), side = weights.configuration.downsampling
        let image = dataset.manifest.image
        try check(weights, channels: image.channels, codes: image.codes, of: dataset.path)
        guard side == dataset.manifest.autoencoder?.downsampling else {
            throw CommandFailure(
                "\(dataset.path): has latents of \(dataset.manifest.autoencoder?.downsampling ?? 0) pixels a side, and the "
                    + "autoencoder \(path) makes them of \(side); make the data set anew with 'tf-data encode'")
        }
        return weights
    }
}
