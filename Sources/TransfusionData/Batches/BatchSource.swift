internal import Synchronization
import TransfusionCore
public import TransfusionModels

/// The global batches of a training run: batch `step` is a pure function of (data set, settings, step).
///
/// The rows of some consecutive steps are a block. It takes the next pairs of the pair stream, always the same number, packs them
/// by their lengths, and fills the rows to the last token with text. Both streams are shuffles that need no memory, and where
/// a block stands in them is one multiplication, so any step costs one block to find. Nothing is padded as long as the split
/// has text, and nothing depends on how many ranks share the work.
///
/// docs/data-format.md states the rule in full.
public final class BatchSource: Sendable {
    /// Names the rule that decides which step holds what. A run never changes it: its order of data would be another.
    public static let packingVersion = 2

    public let dataset: PackedDataset
    public let settings: BatchSettings
    public let model: ModelConfiguration
    /// What the batches hold on average.
    public let shares: BatchShares
    private let seed: UInt64
    private let split: DatasetManifest.Split
    private let pairStream: PairStream
    private let textStream: TextStream
    private let spareStream: TextStream
    let shape: BlockShape
    /// A rank counts one step while it prepares the next, so two blocks are kept.
    private let lastBlocks = Mutex<[PackedBlock]>([])

    /// Rows of a pair beside its caption.
    private var overhead: Int { model.patchesPerImage + 4 }

    /// - Throws: `DataError` when the model does not fit the data set or a row cannot hold the longest pair.
    public init(
        dataset: PackedDataset, split name: String = "train", settings: BatchSettings, model: ModelConfiguration
    ) throws(DataError) {
        try settings.check()
        try Self.checkModel(model, dataset)
        self.dataset = dataset
        self.settings = settings
        self.model = model
        split = try dataset.split(name)
        // The order belongs to the data set as much as to the seed.
        seed = settings.seed ^ (UInt64(dataset.manifest.digest.prefix(16), radix: 16) ?? 0)
        pairStream = PairStream(dataset: dataset, split: split, settings: settings, seed: seed)
        textStream = try TextStream(dataset: dataset, split: split, seed: seed, purpose: .packing)
        spareStream = try TextStream(dataset: dataset, split: split, seed: seed, purpose: .sparePacking)
        let hasText = textStream.passLength > 0
        guard split.pairs > 0 || hasText else { throw DataError(dataset.path, "the split \"\(name)\" is empty") }
        guard hasText || model.images != .none else {
            throw DataError(
                wrongUse:
                    "model.images: none needs plain text, of which the split \"\(name)\" of \(dataset.path) has none")
        }
        guard split.pairs > 0, model.images != .none else {
            shape = .textOnly(settings)
            shares = BatchShares(shape, nil, settings, model)
            return
        }
        try Self.checkLength(settings, model, split, dataset)
        let captions = try CaptionLengths(pairStream, split: split)
        shape = try .fitting(
            captions, pairStream, settings, patches: model.patchesPerImage, overhead: model.patchesPerImage + 4,
            hasText: hasText)
        shares = BatchShares(shape, captions, settings, model)
        dataset.forgetPages()
    }

    /// What the whole global batch of a step has.
    public struct Counts: Sendable, Equatable {
        /// Rows with a text loss, which the text loss is divided by.
        public var targets = 0
        /// What the image loss is divided by.
        public var images = 0
        /// Rows that are not padding.
        public var tokens = 0
        /// Pairs that found no room in the block of steps that begins here and are left out of this epoch. With the spare room
        /// that is kept, that happens in about one of ten million blocks.
        public var leftOut = 0
    }

    public func counts(step: Int) throws(DataError) -> Counts {
        let (block, rows) = try rows(of: step)
        var counts = Counts(leftOut: rows.lowerBound == 0 ? block.leftOut : 0)
        for row in block.rows[rows] {
            // BOS predicts the first token …, the last of the caption BOI, EOI the caption or EOS; BOI and patches nothing.
            counts.targets += row.captions + row.pairs.count * (model.rowOptions.endOfImageIsTarget ? 3 : 2)
            counts.images += row.pairs.count
            counts.tokens += settings.sequenceLength
            if textStream.passLength > 0 {
                try forEachFragment(of: row, in: block) { fragment throws(DataError) in
                    counts.targets += fragment.count - 1
                }
            } else {
                counts.tokens -= row.textCount
            }
        }
        return counts
    }

    /// The micro-batch of some sequences of a step, numbered `0 ..< globalSequences` whatever rank computes them.
    public func microBatch(step: Int, sequences: Range<Int>) throws(DataError) -> MicroBatch {
        precondition(sequences.lowerBound >= 0 && sequences.upperBound <= settings.globalSequences)
        let (block, rows) = try rows(of: step)
        defer { dataset.forgetPages() }
        var builder = RowBuilder(model: model, dataset: dataset, rows: sequences.count * settings.sequenceLength)
        let firstPair = block.rows[rows.lowerBound].pairs.lowerBound
        for row in block.rows[rows][rows.lowerBound + sequences.lowerBound..<rows.lowerBound + sequences.upperBound] {
            for place in row.pairs {
                let element = try pairStream.element(at: block.pairs[place])
                try builder.add(
                    element, index: place - firstPair,
                    limit: element.order == .imageFirst ? settings.noiseCap : settings.timesteps)
            }
            if textStream.passLength > 0 {
                try forEachFragment(of: row, in: block) { fragment throws(DataError) in try builder.add(fragment) }
            } else {
                // Without text the rest of a row is documents of one token, which predict nothing.
                for _ in 0..<row.textCount { builder.addPadding() }
            }
        }
        return try builder.finish(sequenceLength: settings.sequenceLength)
    }

    /// How often the pairs and the text have been seen when a step begins.
    public func epochs(before step: Int) throws(DataError) -> (pairs: Double, text: Double) {
        let (block, rows) = try rows(of: step)
        let first = block.rows[rows.lowerBound]
        let pairs = shape.pairs(before: block.number) + first.pairs.lowerBound
        let text = block.number * shape.text + min(first.textStart, shape.text)
        return (
            split.pairs > 0 ? Double(pairs) / Double(split.pairs) : 0,
            textStream.passLength > 0 ? Double(text) / Double(textStream.passLength) : 0
        )
    }

    /// The text of a row: from the text stream as long as the block's share of it lasts, then out of turn.
    private func forEachFragment(
        of row: PackedBlock.Row, in block: PackedBlock, _ body: (TextStream.Fragment) throws(DataError) -> Void
    ) throws(DataError) {
        let inTurn = max(0, min(row.textCount, shape.text - row.textStart))
        try textStream.forEachFragment(from: block.number * shape.text + row.textStart, count: inTurn, body)
        try spareStream.forEachFragment(
            from: block.number * shape.spareText + max(0, row.textStart - shape.text), count: row.textCount - inTurn,
            body)
    }

    /// The block of a step, and which of its rows are the step's.
    private func rows(of step: Int) throws(DataError) -> (block: PackedBlock, rows: Range<Int>) {
        precondition(step >= 0)
        let first = step % shape.steps * settings.globalSequences
        return (try block(step / shape.steps), first..<first + settings.globalSequences)
    }

    func block(_ number: Int) throws(DataError) -> PackedBlock {
        if let block = lastBlocks.withLock({ $0.first { $0.number == number } }) { return block }
        let block = try PackedBlock(number, shape, pairStream, settings, overhead: overhead, seed: seed)
        lastBlocks.withLock { $0 = [block] + $0.prefix(1) }
        return block
    }

    /// Refuses rows that cannot hold the longest pair.
    private static func checkLength(
        _ settings: BatchSettings, _ model: ModelConfiguration, _ split: DatasetManifest.Split, _ dataset: PackedDataset
    ) throws(DataError) {
        let longest = min(split.longestCaption, settings.longestCaption ?? .max)
        let needed = model.patchesPerImage + 4 + longest
        guard needed > settings.sequenceLength else { return }
        let rest = settings.sequenceLength - model.patchesPerImage - 4
        throw DataError(
            wrongUse:
                "batch.sequence_length: \(settings.sequenceLength) rows cannot hold an image of \(model.patchesPerImage) "
                + "patches with the longest caption of \(dataset.path) (\(longest) tokens); use at least \(needed)"
                + (rest > 0 ? ", or cut captions with data.max_caption_tokens: \(rest) or less" : ""))
    }

    private static func checkModel(_ model: ModelConfiguration, _ dataset: PackedDataset) throws(DataError) {
        let image = dataset.manifest.image
        let tokens = dataset.manifest.tokens
        guard
            model.images == .none
                || (model.imageChannels, model.imageHeight, model.imageWidth) == (
                    image.channels, image.height, image.width
                )
        else {
            throw DataError(
                "model.image: \(model.imageChannels)×\(model.imageHeight)×\(model.imageWidth) is not the data set's"
                    + " \(image.channels)×\(image.height)×\(image.width) (\(dataset.path))")
        }
        guard model.vocabulary == tokens.vocabulary else {
            throw DataError(
                "model.vocab: \(model.vocabulary) is not the \(tokens.vocabulary) of the data set's tokenizer"
                    + " (\(dataset.path))")
        }
        let ids = [model.beginOfText, model.endOfText, model.beginOfImage, model.endOfImage]
        guard ids == [tokens.beginOfText, tokens.endOfText, tokens.beginOfImage, tokens.endOfImage] else {
            throw DataError(
                "model: the ids of BOS, EOS, BOI, EOI are not those of the data set's tokenizer (\(dataset.path))")
        }
        guard model.images != .none else { return }
        guard model.patchSize > 0, image.height % model.patchSize == 0, image.width % model.patchSize == 0 else {
            throw DataError(
                "model.patch: \(model.patchSize) does not divide an image of \(image.height)×\(image.width)")
        }
    }
}
