internal import Foundation
internal import TransfusionCheckpoint
public import TransfusionCore
public import TransfusionData
internal import TransfusionModels
internal import TransfusionSupport

/// Makes a data set of latents out of one of pictures: all of `tf-data encode`.
///
/// Latents are the means of their distribution, or the codes' vectors, shifted and scaled as the autoencoder says.
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
        /// Channels, height and width of a latent.
        public let shape: [Int]
        /// Of all numbers of all latents, as they are stored.
        public let mean: Double
        public let deviation: Double
    }

    /// - Throws: `DataError` and `CheckpointError`, which say what does not fit.
    public func run(progress: (_ phase: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }) throws -> Report {
        let directory = try UnfinishedDirectory(output)
        let source = try PackedDataset(dataset)
        let weights = try AutoencoderWeights(autoencoder)
        let configuration = weights.configuration
        let shape = try Self.latentShape(of: source, configuration)
        let context = Context(pool: ThreadPool(threads: threads), type: type)
        let model = Autoencoder(configuration, context)
        try weights.load(into: model.parameters)

        let replacement = try ImageReplacement(
            of: source, in: directory,
            image: .init(channels: shape[0], height: shape[1], width: shape[2], element: element),
            autoencoder: DatasetManifest.Autoencoder(
                path: autoencoder, digest: try weights.digest(), downsampling: configuration.downsampling),
            description: "latents of the autoencoder \(Paths.name(of: Paths.withoutTrailingSlash(autoencoder)))")
        let count = source.manifest.images, elements = shape.reduce(1, *)
        var moments = Moments()
        for first in stride(from: 0, to: count, by: batch) {
            let images = min(batch, count - first)
            var latents = try encode(first..<first + images, of: source, model, context)
            for index in latents.indices {
                latents[index] = (latents[index] - Float(configuration.latentShift)) * Float(configuration.latentScale)
            }
            if !latents.allSatisfy(\.isFinite) {
                // One that is no number spreads to those that attention computes together with it.
                let image = try (first..<first + images).first { image in
                    try !encode(image..<image + 1, of: source, model, context).allSatisfy(\.isFinite)
                }
                throw DataError(
                    "\(source.path): image \(image ?? first) has latents that are no finite numbers; use f32, or another "
                        + "autoencoder")
            }
            moments.add(latents)
            try latents.withUnsafeBufferPointer { latents in
                for image in 0..<images {
                    try replacement.add(
                        UnsafeBufferPointer(rebasing: latents[image * elements..<(image + 1) * elements]))
                }
            }
            progress("encoding images", first + images, count)
        }
        try weights.writeCopy(to: replacement.autoencoderCopy)
        let manifest = try replacement.finish()
        return Report(
            path: directory.place, digest: manifest.digest, images: count, shape: shape, mean: moments.mean,
            deviation: moments.deviation)
    }

    /// The latents of some images, `[images, channels, height, width]`.
    private func encode(
        _ range: Range<Int>, of source: PackedDataset, _ model: Autoencoder, _ context: Context
    ) throws -> [Float] {
        let image = source.manifest.image
        var pixels: [Float] = []
        for index in range { pixels += try source.image(index) }
        let pictures = context.pictures(pixels, [range.count, image.channels, image.height, image.width])
        return context.channelsFirst(model.latents(of: pictures, context))
    }

    private static func latentShape(
        of source: PackedDataset, _ configuration: AutoencoderConfiguration
    ) throws(DataError) -> [Int] {
        let image = source.manifest.image, side = configuration.downsampling
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
        return [configuration.latentChannels, image.height / side, image.width / side]
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
