internal import Foundation
internal import TransfusionCheckpoint
public import TransfusionCore
public import TransfusionData
internal import TransfusionModels
internal import TransfusionSupport

/// Makes a data set of latents out of one of pictures: all of `tf-data encode`.
///
/// Latents are the means of their distribution, or the codes' vectors, shifted and scaled as the autoencoder says. For a model
/// whose images are tokens, the codes' numbers are stored instead.
public struct DatasetEncoding: Sendable {
    /// A data set with pictures.
    public var dataset: String
    /// What `AutoencoderWeights` opens.
    public var autoencoder: String
    /// The directory to make.
    public var output: String
    /// Pictures that are encoded at once.
    public var batch = 8
    public var type = ElementType.f32
    /// How latents are stored.
    public var element = DatasetManifest.PixelType.bf16
    /// Whether the numbers of the codes are stored in the place of latents.
    public var storesCodes = false
    /// Nil takes the processors that this process may use.
    public var threads: Int?

    public init(dataset: String, autoencoder: String, output: String) {
        self.dataset = dataset
        self.autoencoder = autoencoder
        self.output = output
    }

    public struct Report: Encodable, Sendable, Equatable {
        public let path: String
        public let digest: String
        public let images: Int
        /// Channels, height and width of a latent, or of the codes of a picture.
        public let shape: [Int]
        /// Of all numbers of all latents, as they are stored; nil for codes.
        public var mean: Double?
        public var deviation: Double?
        /// How many codes there are, and how many of them occur; nil for latents.
        public var codes: Int?
        public var codesUsed: Int?

        enum CodingKeys: String, CodingKey {
            case path, digest, images, shape, mean, deviation, codes
            case codesUsed = "codes_used"
        }
    }

    /// - Throws: `DataError` and `CheckpointError`, which say what does not fit.
    public func run(progress: (_ phase: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }) throws -> Report {
        let directory = try UnfinishedDirectory(output)
        let source = try PackedDataset(dataset)
        let weights = try AutoencoderWeights(autoencoder)
        let configuration = weights.configuration
        let image = try imageShape(of: source, weights)
        let context = Context(pool: ThreadPool(threads: threads), type: type)
        let model = Autoencoder(configuration, context)
        try weights.load(into: model.parameters)

        let replacement = try ImageReplacement(
            of: source, in: directory, image: image,
            autoencoder: DatasetManifest.Autoencoder(
                path: autoencoder, digest: try weights.digest(), downsampling: configuration.downsampling),
            description: "\(storesCodes ? "codes" : "latents") of the autoencoder "
                + Paths.name(of: Paths.withoutTrailingSlash(autoencoder)))
        let count = source.manifest.images, elements = image.elements
        var moments = Moments(), used: Set<Float> = []
        for first in stride(from: 0, to: count, by: batch) {
            let images = min(batch, count - first)
            let encoded = try encode(first..<first + images, of: source, model, context)
            if storesCodes { used.formUnion(encoded) } else { moments.add(encoded) }
            try encoded.withUnsafeBufferPointer { encoded in
                for image in 0..<images {
                    try replacement.add(
                        UnsafeBufferPointer(rebasing: encoded[image * elements..<(image + 1) * elements]))
                }
            }
            progress("encoding images", first + images, count)
        }
        try weights.writeCopy(to: replacement.autoencoderCopy)
        let manifest = try replacement.finish()
        var report = Report(
            path: directory.place, digest: manifest.digest, images: count,
            shape: [image.channels, image.height, image.width])
        if storesCodes {
            (report.codes, report.codesUsed) = (image.codes, used.count)
        } else {
            (report.mean, report.deviation) = (moments.mean, moments.deviation)
        }
        return report
    }

    /// What is stored of some images, `[images, channels, height, width]`.
    private func encode(
        _ range: Range<Int>, of source: PackedDataset, _ model: Autoencoder, _ context: Context
    ) throws -> [Float] {
        let image = source.manifest.image, configuration = model.configuration
        func pictures(_ range: Range<Int>) throws -> Tensor {
            var pixels: [Float] = []
            for index in range { pixels += try source.image(index) }
            return context.pictures(pixels, [range.count, image.channels, image.height, image.width])
        }
        func latents(_ range: Range<Int>) throws -> [Float] {
            context.channelsFirst(model.latents(of: try pictures(range), context)).map {
                ($0 - Float(configuration.latentShift)) * Float(configuration.latentScale)
            }
        }
        guard !storesCodes else { return model.codes(of: try pictures(range), context).map { Float($0) } }
        let found = try latents(range)
        if !found.allSatisfy(\.isFinite) {
            // One that is no number spreads to those that attention computes together with it.
            let image = try range.first { try !latents($0..<$0 + 1).allSatisfy(\.isFinite) }
            throw DataError(
                "\(source.path): image \(image ?? range.lowerBound) has latents that are no finite numbers; use f32, or "
                    + "another autoencoder")
        }
        return found
    }

    /// How the new images are stored.
    private func imageShape(
        of source: PackedDataset, _ weights: AutoencoderWeights
    ) throws(DataError) -> DatasetManifest.ImageShape {
        let configuration = weights.configuration
        let image = source.manifest.image, side = configuration.downsampling
        let isStorable = configuration.kind == .vq && configuration.codes <= DatasetManifest.mostCodes
        guard isStorable || !storesCodes else {
            let codes = configuration.kind == .vq ? "\(configuration.codes) codes" : "no codes (it is of the kind kl)"
            throw DataError(
                "\(weights.path): has \(codes), and a data set of codes is made of 2 to "
                    + "\(DatasetManifest.mostCodes); take another autoencoder")
        }
        guard source.manifest.autoencoder == nil else {
            throw DataError("\(source.path): has latents already; give a data set of pictures")
        }
        guard image.channels == configuration.pictureChannels else {
            throw DataError(
                "\(source.path): has images of \(image.channels) channels, which the autoencoder of "
                    + "\(configuration.pictureChannels) does not take; give a data set of pictures")
        }
        guard image.height % side == 0, image.width % side == 0 else {
            throw DataError(
                "\(source.path): has pictures of \(image.height) × \(image.width); the autoencoder takes multiples of \(side)"
            )
        }
        let (height, width) = (image.height / side, image.width / side)
        return storesCodes
            ? .init(codes: configuration.codes, height: height, width: width)
            : .init(channels: configuration.latentChannels, height: height, width: width, element: element)
    }

    /// Mean and deviation of numbers that come in runs.
    private struct Moments {
        private var count = 0.0
        private var sum = 0.0
        private var squares = 0.0

        mutating func add(_ values: [Float]) {
            count += Double(values.count)
            for value in values {
                sum += Double(value)
                squares += Double(value) * Double(value)
            }
        }

        var mean: Double { sum / max(count, 1) }
        var deviation: Double { max(0, squares / max(count, 1) - mean * mean).squareRoot() }
    }
}
