internal import Synchronization
import TransfusionCore
public import TransfusionModels

/// The global batches of a training run: batch `step` is a pure function of (data sets and their weights, settings, step).
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

    public let data: DataMixture
    public let settings: BatchSettings
    public let model: ModelConfiguration
    private let seed: UInt64
    let streams: SourceStreams
    /// In the order of the steps, of which they leave none out.
    let phases: [BatchPhase]
    /// A rank counts one step while it prepares the next, so two blocks are kept.
    private let lastBlocks = Mutex<[PackedBlock]>([])

    /// - Throws: `DataError` when the model does not fit the data sets or a row cannot hold the longest pair.
    public init(
        data: DataMixture, split name: String = "train", settings: BatchSettings, model: ModelConfiguration
    ) throws(DataError) {
        try settings.check()
        try Self.checkModel(model, data)
        self.data = data
        self.settings = settings
        self.model = model
        seed = settings.seed ^ SourceStreams.key(data.digest)
        streams = try SourceStreams(data, split: name, settings, model)
        guard model.images != .none || streams.text.contains(where: { $0.passLength > 0 }) else {
            throw DataError(
                wrongUse: "model.images: none needs plain text, of which the split \"\(name)\" of \(data.path) has none"
            )
        }
        for case let stream? in streams.pairs { try Self.checkLength(settings, model, stream.split, stream.dataset) }
        var phases: [BatchPhase] = []
        let none = [Int](repeating: 0, count: data.datasets.count)
        var position = BatchPhase.Position(pairs: none, text: none, spareText: none)
        for (index, phase) in data.phases.enumerated() {
            let end = index + 1 < data.phases.count ? data.phases[index + 1].firstStep : .max
            if let last = phases.last { position = last.end(after: position) }
            phases.append(
                try BatchPhase(
                    phase.firstStep..<end, shares: phase.shares, from: position, streams, settings, model))
        }
        self.phases = phases
        data.forgetPages()
    }

    /// The batches of one data set.
    public convenience init(
        dataset: PackedDataset, split: String = "train", settings: BatchSettings, model: ModelConfiguration
    ) throws(DataError) {
        try self.init(data: DataMixture(dataset), split: split, settings: settings, model: model)
    }

    /// What the batches hold on average, in the steps that have the most images.
    public var shares: BatchShares { phases.map(\.shares).max { $0.images < $1.images } ?? phases[0].shares }

    /// What the whole global batch of a step has.
    public struct Counts: Sendable, Equatable {
        /// Rows with a text loss, which the text loss is divided by.
        public var targets = 0
        /// What the image loss is divided by.
        public var images = 0
        /// Images that edits begin with, which have no loss.
        public var originals = 0
        /// Rows that are not padding.
        public var tokens = 0
        /// Pairs that found no room in the block of steps that begins here and are left out of this epoch. With the spare room
        /// that is kept, that happens in about one of ten million blocks.
        public var leftOut = 0
        /// The steps of the block.
        public var blockSteps = 1
    }

    public func counts(step: Int) throws(DataError) -> Counts {
        let (block, rows) = try rows(of: step)
        let text = phase(of: step).text
        var counts = Counts(leftOut: rows.lowerBound == 0 ? block.leftOut : 0, blockSteps: block.steps.count)
        for row in block.rows[rows] {
            // BOS predicts the first token …, the last of the caption BOI, EOI what follows; BOI and patches nothing, but
            // tokens of an image the next one.
            let ofImage =
                model.images == .tokens ? model.originalRows : model.rowOptions.endOfImageIsTarget ? 2 : 1
            counts.targets += row.captions + row.pairs.count + (row.pairs.count + row.originals) * ofImage
            counts.images += row.pairs.count
            counts.originals += row.originals
            counts.tokens += settings.sequenceLength
            if text != nil {
                try forEachFragment(of: row, in: step) { fragment throws(DataError) in
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
        let phase = phase(of: step)
        defer { data.forgetPages() }
        var builder = RowBuilder(model: model, data: data, rows: sequences.count * settings.sequenceLength)
        let firstPair = block.rows[rows.lowerBound].pairs.lowerBound
        for row in block.rows[rows][rows.lowerBound + sequences.lowerBound..<rows.lowerBound + sequences.upperBound] {
            for place in row.pairs {
                guard let element = try phase.pairs?.element(at: block.pairs[place]) else { break }
                try builder.add(
                    element, index: place - firstPair,
                    limit: element.order == .imageFirst ? settings.noiseCap : settings.timesteps)
            }
            if phase.text != nil {
                try forEachFragment(of: row, in: step) { fragment throws(DataError) in try builder.add(fragment) }
            } else {
                // Without text the rest of a row is documents of one token, which predict nothing.
                for _ in 0..<row.textCount { builder.addPadding() }
            }
        }
        return try builder.finish(sequenceLength: settings.sequenceLength)
    }

    /// How often the pairs and the text of each data set have been seen when a step begins; nil for what it does not have.
    public func epochs(before step: Int) throws(DataError) -> [(pairs: Double?, text: Double?)] {
        let (block, rows) = try rows(of: step)
        let phase = phase(of: step), place = phase.block(of: step)
        let first = block.rows[rows.lowerBound]
        return streams.splits.indices.map { source in
            let pairs = phase.pairs?.taken(from: source, before: place.pairs.lowerBound + first.pairs.lowerBound)
            let text = phase.text?.taken(from: source, before: place.text + min(first.textStart, place.shape.text))
            let (split, passLength) = (streams.splits[source], streams.text[source].passLength)
            return (
                streams.pairs[source] != nil ? Double(pairs ?? 0) / Double(split.pairs) : nil,
                passLength > 0 ? Double(text ?? 0) / Double(passLength) : nil
            )
        }
    }

    /// The text of a row: from the text stream as long as the block's share of it lasts, then out of turn.
    private func forEachFragment(
        of row: PackedBlock.Row, in step: Int, _ body: (TextStream.Fragment) throws(DataError) -> Void
    ) throws(DataError) {
        let phase = phase(of: step), block = phase.block(of: step)
        let inTurn = max(0, min(row.textCount, block.shape.text - row.textStart))
        try phase.text?.forEachFragment(from: block.text + row.textStart, count: inTurn, body)
        try phase.spareText?.forEachFragment(
            from: block.spareText + max(0, row.textStart - block.shape.text), count: row.textCount - inTurn, body)
    }

    func phase(of step: Int) -> BatchPhase {
        precondition(step >= 0)
        return phases.last { $0.steps.lowerBound <= step } ?? phases[0]
    }

    /// The block of a step, and which of its rows are the step's.
    private func rows(of step: Int) throws(DataError) -> (block: PackedBlock, rows: Range<Int>) {
        let block = try block(of: step)
        let first = (step - block.steps.lowerBound) * settings.globalSequences
        return (block, first..<first + settings.globalSequences)
    }

    func block(of step: Int) throws(DataError) -> PackedBlock {
        let phase = phase(of: step), place = phase.block(of: step)
        if let block = lastBlocks.withLock({ $0.first { $0.number == place.number } }) { return block }
        let block = try PackedBlock(place, phase.pairs, settings, model, seed: seed)
        lastBlocks.withLock { $0 = [block] + $0.prefix(1) }
        return block
    }

    /// Refuses rows that cannot hold the longest pair.
    private static func checkLength(
        _ settings: BatchSettings, _ model: ModelConfiguration, _ split: DatasetManifest.Split, _ dataset: PackedDataset
    ) throws(DataError) {
        let longest = min(split.longestCaption, settings.longestCaption ?? .max)
        let needed = model.pairRows + longest + (split.edits == nil ? 0 : model.originalRows)
        guard needed > settings.sequenceLength else { return }
        let rest = settings.sequenceLength - needed + longest
        let images = split.edits == nil ? "an image" : "the two images of an edit"
        throw DataError(
            wrongUse:
                "batch.sequence_length: \(settings.sequenceLength) rows cannot hold \(images) of \(model.patchesPerImage) "
                + "patches with the longest caption of \(dataset.path) (\(longest) tokens); use at least \(needed)"
                + (rest > 0 ? ", or cut captions with data.max_caption_tokens: \(rest) or less" : ""))
    }

    private static func checkModel(_ model: ModelConfiguration, _ data: DataMixture) throws(DataError) {
        let (image, tokens) = (data.image, data.tokens)
        guard
            model.images == .none
                || (model.imageChannels, model.imageHeight, model.imageWidth) == (
                    image.channels, image.height, image.width
                )
        else {
            throw DataError(
                "model.image: \(model.imageChannels)×\(model.imageHeight)×\(model.imageWidth) is not the data set's"
                    + " \(image.channels)×\(image.height)×\(image.width) (\(data.path))")
        }
        guard model.imageCodes == (model.images == .tokens ? image.codes : 0) else {
            throw DataError(
                "model.images: \(model.imageCodes) codes are not the \(image.codes ?? 0) of the data set (\(data.path))"
            )
        }
        guard model.textVocabulary == tokens.vocabulary else {
            throw DataError(
                "model.vocab: \(model.textVocabulary) is not the \(tokens.vocabulary) of the data set's tokenizer"
                    + " (\(data.path))")
        }
        let ids = [model.beginOfText, model.endOfText, model.beginOfImage, model.endOfImage]
        guard ids == [tokens.beginOfText, tokens.endOfText, tokens.beginOfImage, tokens.endOfImage] else {
            throw DataError(
                "model: the ids of BOS, EOS, BOI, EOI are not those of the data set's tokenizer (\(data.path))")
        }
        guard model.images != .none else { return }
        guard model.patchSize > 0, image.height % model.patchSize == 0, image.width % model.patchSize == 0 else {
            throw DataError(
                "model.patch: \(model.patchSize) does not divide an image of \(image.height)×\(image.width)")
        }
    }
}
