public import TransfusionConfig
internal import TransfusionCore
public import TransfusionModels

/// The pictures of a split as one endless stream: epoch after epoch, each in an order of its own, each pair's picture exactly
/// once an epoch.
public struct PictureStream: Sendable {
    public let dataset: PackedDataset
    private let pairs: Range<Int>
    private let seed: UInt64

    /// - Throws: `DataError` when the split has no pictures.
    public init(_ dataset: PackedDataset, split name: String = "train", seed: UInt64) throws(DataError) {
        self.dataset = dataset
        pairs = try dataset.split(name).pairRange
        guard !pairs.isEmpty else { throw DataError(dataset.path, "the split \"\(name)\" has no pictures") }
        // The order belongs to the data set as much as to the seed.
        self.seed = seed ^ (UInt64(dataset.manifest.digest.prefix(16), radix: 16) ?? 0)
    }

    /// How many pictures an epoch has.
    public var count: Int { pairs.count }

    /// The picture at a place of the stream: `[channels, height, width]`, in −1 … 1.
    public func picture(at position: Int) throws(DataError) -> [Float] {
        let (epoch, place) = position.quotientAndRemainder(dividingBy: pairs.count)
        let order = Permutation(count: pairs.count, seed: seed, purpose: .order, epoch: epoch)
        return try dataset.image(try dataset.pair(pairs.lowerBound + order(place)).image)
    }

    /// A picture by its place in the split, the same at all times.
    public func fixedPicture(_ index: Int) throws(DataError) -> [Float] {
        try dataset.image(try dataset.pair(pairs.lowerBound + index).image)
    }
}

extension PictureStream {
    /// The pictures of a run that trains an autoencoder, from the training split of `dataset`.
    ///
    /// - Parameter ranks: The processes that will train; nil when not known yet.
    /// - Throws: `ConfigurationError` and `DataError`, which say what does not fit and what would.
    public init(_ configuration: RunConfiguration, dataset: PackedDataset, ranks: Int? = nil) throws {
        let image = dataset.manifest.image
        let problems = configuration.problems(
            ranks: ranks, imageChannels: image.channels, imageHeight: image.height, imageWidth: image.width)
        guard problems.isEmpty else { throw ConfigurationError(problems: problems) }
        _ = try Self.autoencoder(configuration, of: dataset)
        try self.init(dataset, seed: UInt64(configuration.seed))
    }

    /// The autoencoder that a run makes of its data set.
    /// - Throws: `DataError` when the two do not fit.
    public static func autoencoder(
        _ configuration: RunConfiguration, of dataset: PackedDataset
    ) throws(DataError) -> AutoencoderConfiguration {
        let image = dataset.manifest.image
        if let problem = configuration.autoencoderProblem(height: image.height, width: image.width) {
            throw DataError(dataset.path, problem)
        }
        let autoencoder = configuration.autoencoderConfiguration(channels: image.channels, height: image.height)
        if let problem = autoencoder.problems().first { throw DataError(dataset.path, problem) }
        return autoencoder
    }
}
