internal import Synchronization
public import TransfusionCore

/// The global batches of a training run: batch `step` is a pure function of (data set, settings, step).
///
/// Row `r` of the run (row `r % globalSequences` of step `r / globalSequences`) holds a fixed number of pairs from the pair
/// stream and is filled to the last token from the text stream. Both streams are shuffles that need no memory, and where
/// row `r` stands in the text stream follows from how many tokens the pairs before it have. Nothing is padded as long as the
/// split has text, nothing is skipped, and neither depends on how many ranks share the work.
///
/// docs/data-format.md states the rule in full.
public final class BatchSource: Sendable {
    public let dataset: PackedDataset
    public let settings: BatchSettings
    public let model: ModelConfiguration
    private let split: DatasetManifest.Split
    private let pairStream: PairStream
    private let textStream: TextStream
    /// Pairs of a row in units of 2^-20, so that a row may have 2.5 of them on average.
    private let pairsPerRow: UInt64
    private let lastPlan = Mutex<Plan?>(nil)

    /// Text tokens for each image patch, as far as the length of the captions allows the wanted ratio.
    public let expectedTextToImageRatio: Double

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
        let seed = settings.seed ^ (UInt64(dataset.manifest.digest.prefix(16), radix: 16) ?? 0)
        pairStream = PairStream(dataset: dataset, split: split, settings: settings, seed: seed)
        textStream = try TextStream(dataset: dataset, split: split, seed: seed)
        guard split.pairs > 0 || textStream.passLength > 0 else {
            throw DataError(dataset.path, "the split \"\(name)\" is empty")
        }

        let unit = 0x1p20
        let patches = model.patchesPerImage
        let longest = patches + 4 + split.longestCaption
        var pairsPerRow = 0.0
        if split.pairs > 0 {
            guard settings.sequenceLength >= longest else {
                throw DataError(
                    wrongUse:
                        "batch.sequence_length: \(settings.sequenceLength) rows cannot hold an image of \(patches) patches "
                        + "with the longest caption of \(dataset.path) (\(split.longestCaption) tokens); use at least \(longest)"
                )
            }
            let room = Double(settings.sequenceLength / longest)
            let wanted = Double(settings.sequenceLength) / (Double(patches) * (1 + settings.textToImageRatio))
            pairsPerRow = textStream.passLength > 0 ? min(wanted, room) : room
        }
        self.pairsPerRow = UInt64((pairsPerRow * unit).rounded(.down))
        let patchesPerRow = pairsPerRow * Double(patches)
        expectedTextToImageRatio = (Double(settings.sequenceLength) - patchesPerRow) / patchesPerRow
    }

    /// How many rows with a text loss and how many images the whole global batch has: what losses are divided by.
    public func counts(step: Int) throws(DataError) -> (targets: Int, images: Int) {
        let plan = try plan(step)
        return (plan.targets, plan.images)
    }

    /// The micro-batch of some sequences of a step, numbered `0 ..< globalSequences` whatever rank computes them.
    public func microBatch(step: Int, sequences: Range<Int>) throws(DataError) -> MicroBatch {
        precondition(sequences.lowerBound >= 0 && sequences.upperBound <= settings.globalSequences)
        let plan = try plan(step)
        defer { dataset.forgetPages() }
        var builder = RowBuilder(model: model, dataset: dataset, rows: sequences.count * settings.sequenceLength)
        for row in plan.rows[sequences] {
            for position in row.pairs {
                let element = try pairStream.element(at: position)
                try builder.add(
                    element, index: position - plan.firstPair,
                    limit: element.order == .imageFirst ? settings.noiseCap : settings.timesteps)
            }
            if textStream.passLength > 0 {
                try textStream.forEachFragment(from: row.textStart, count: row.textCount) {
                    fragment throws(DataError) in
                    try builder.add(fragment)
                }
            } else {
                // Without text the rest of a row is documents of one token, which predict nothing.
                for _ in 0..<row.textCount { builder.addPadding() }
            }
        }
        return try builder.finish(sequenceLength: settings.sequenceLength)
    }

    /// How often the pairs and the text have been seen when a step begins.
    public func epochs(before step: Int) throws(DataError) -> (pairs: Double, text: Double) {
        let plan = try plan(step)
        return (
            split.pairs > 0 ? Double(plan.firstPair) / Double(split.pairs) : 0,
            textStream.passLength > 0 ? Double(plan.firstText) / Double(textStream.passLength) : 0
        )
    }

    /// What each row of a step holds.
    private struct Plan {
        struct Row {
            /// Positions in the pair stream.
            let pairs: Range<Int>
            /// Position in the text stream.
            let textStart: Int
            let textCount: Int
        }
        let step: Int
        let firstPair: Int
        let firstText: Int
        var rows: [Row] = []
        var targets = 0
        var images: Int { rows.reduce(0) { $0 + $1.pairs.count } }
        var endText: Int { rows.last.map { $0.textStart + $0.textCount } ?? firstText }
    }

    /// How many pairs the rows before row `row` of the run hold.
    private func pairsBefore(row: Int) -> Int {
        let product = UInt64(row).multipliedFullWidth(by: pairsPerRow)
        return Int(product.high << 44 | product.low >> 20)
    }

    private func plan(_ step: Int) throws(DataError) -> Plan {
        precondition(step >= 0)
        let last = lastPlan.withLock { $0 }
        if let last, last.step == step { return last }
        let length = settings.sequenceLength
        let firstRow = step * settings.globalSequences
        let firstPair = pairsBefore(row: firstRow)
        var text: Int
        if let last, last.step + 1 == step {
            text = last.endText
        } else {
            text =
                firstRow * length - firstPair * (model.patchesPerImage + 4)
                - (try pairStream.captionTokens(before: firstPair))
        }
        var plan = Plan(step: step, firstPair: firstPair, firstText: text)
        plan.rows.reserveCapacity(settings.globalSequences)
        for row in firstRow..<firstRow + settings.globalSequences {
            let pairs = pairsBefore(row: row)..<pairsBefore(row: row + 1)
            let captions = try pairStream.captionTokens(in: pairs)
            let room = length - pairs.count * (model.patchesPerImage + 4) - captions
            guard room >= 0 else {
                throw DataError(
                    dataset.path, "a caption is longer than the manifest says; run 'tf-data verify \(dataset.path)'")
            }
            plan.rows.append(Plan.Row(pairs: pairs, textStart: text, textCount: room))
            // BOS predicts the first token …, the last of the caption BOI, EOI the caption or EOS; BOI and patches nothing.
            plan.targets += captions + pairs.count * (model.rowOptions.endOfImageIsTarget ? 3 : 2)
            if textStream.passLength > 0 {
                try textStream.forEachFragment(from: text, count: room) { fragment throws(DataError) in
                    plan.targets += fragment.count - 1
                }
            }
            text += room
        }
        lastPlan.withLock { $0 = plan }
        return plan
    }

    private static func checkModel(_ model: ModelConfiguration, _ dataset: PackedDataset) throws(DataError) {
        let image = dataset.manifest.image
        let tokens = dataset.manifest.tokens
        guard (model.imageChannels, model.imageHeight, model.imageWidth) == (image.channels, image.height, image.width)
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
        guard model.patchSize > 0, image.height % model.patchSize == 0, image.width % model.patchSize == 0 else {
            throw DataError(
                "model.patch: \(model.patchSize) does not divide an image of \(image.height)×\(image.width)")
        }
    }
}
