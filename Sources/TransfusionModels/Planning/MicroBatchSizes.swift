import TransfusionCore

/// How large a micro-batch is: all that its cost depends on.
public struct MicroBatchSizes: Sendable, Equatable {
    /// Packed sequences, each taken for one document: shorter documents see less.
    public var sequences: Int
    /// Tokens and patches of a sequence.
    public var sequenceLength: Int
    /// Images of all sequences that are patches; not whole for an average.
    public var images: Double
    /// Rows with a text target.
    public var targets: Double

    /// What an average leaves open may fall into one micro-batch.
    public var mostImages: Int { Int(images.rounded(.up)) }
    public var rows: Int { sequences * sequenceLength }

    public init(sequences: Int = 1, sequenceLength: Int, images: Int, targets: Int) {
        self.sequences = sequences
        self.sequenceLength = sequenceLength
        self.images = Double(images)
        self.targets = Double(targets)
    }

    /// What batches of a model hold on average.
    ///
    /// - Parameter textToImageRatio: Text tokens for each image patch.
    public init(_ model: ModelConfiguration, sequences: Int, sequenceLength: Int, textToImageRatio: Double) {
        self.sequences = sequences
        self.sequenceLength = sequenceLength
        let rows = Double(sequences * sequenceLength), patches = Double(model.patchesPerImage)
        images =
            model.images == .diffusion
            ? min(rows / (1 + textToImageRatio) / patches, (rows / patches).rounded(.down)) : 0
        // The first token of a document and the markers of images have no target; they are few.
        targets = rows - images * patches
    }

    /// One of so many equal parts.
    func share(_ parts: Int) -> MicroBatchSizes {
        var sizes = self
        sizes.sequences /= parts
        sizes.images /= Double(parts)
        sizes.targets /= Double(parts)
        return sizes
    }

    /// The same rows with a whole number of images: their patches take the place of text, or text that of patches.
    func with(images: Int, of model: ModelConfiguration) -> MicroBatchSizes {
        var sizes = self
        sizes.images = Double(images)
        let patches = Double(model.patchesPerImage)
        sizes.targets = max(0, targets + (self.images - Double(images)) * patches)
        return sizes
    }
}
