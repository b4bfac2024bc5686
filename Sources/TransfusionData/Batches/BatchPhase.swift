internal import TransfusionCore
internal import TransfusionModels

/// The steps of a run in which the weights of its data sets stay the same: where their blocks lie, and what those hold.
///
/// The streams of a phase go on where those of the phase before ended. Blocks begin anew with it, and the last block of a phase
/// that another follows has only as many steps as are left.
struct BatchPhase: Sendable {
    /// Without an end for the last phase.
    let steps: Range<Int>
    let shape: BlockShape
    /// The shape of the last block, where that is a shorter one.
    private let lastShape: BlockShape?
    /// Blocks of the phases before.
    private let firstBlock: Int
    /// nil without pairs, as the others without text.
    let pairs: MixedPairs?
    let text: MixedText?
    let spareText: MixedText?
    /// What the batches hold on average.
    let shares: BatchShares

    /// What the phases before have taken.
    struct Position {
        var blocks = 0
        /// Of each data set.
        var pairs: [Int]
        var text: [Int]
        var spareText: [Int]
    }

    /// - Parameter shares: Of each data set.
    init(
        _ steps: Range<Int>, shares: [Int], from position: Position, _ streams: SourceStreams,
        _ settings: BatchSettings, _ model: ModelConfiguration
    ) throws(DataError) {
        self.steps = steps
        firstBlock = position.blocks
        pairs = MixedPairs(streams.pairs, shares: shares, begins: position.pairs)
        text = MixedText(streams.text, shares: shares, begins: position.text)
        spareText = MixedText(streams.spareText, shares: shares, begins: position.spareText)
        guard pairs != nil || text != nil else {
            throw DataError(
                wrongUse:
                    "data.sources: from step \(steps.lowerBound) on no source has what the model trains on; give one "
                    + "with plain text a weight")
        }
        guard let pairs else {
            shape = .textOnly(settings)
            lastShape = nil
            self.shares = BatchShares(shape, nil, settings, model)
            return
        }
        var parts: [(captions: CaptionLengths, share: Double)] = []
        for (stream, share) in pairs.parts {
            parts.append((try CaptionLengths(stream), share))
        }
        let captions = CaptionLengths(mixing: parts)
        let hasText = text != nil
        func fitted(steps: Int?) throws(DataError) -> BlockShape {
            try .fitting(
                captions, pairs, settings, patches: captions.meanPatches(model, settings), overhead: model.pairRows,
                hasText: hasText, steps: steps)
        }
        shape = try fitted(steps: nil)
        let left = steps.upperBound == .max ? 0 : steps.count % shape.steps
        lastShape = left == 0 ? nil : try fitted(steps: left)
        self.shares = BatchShares(shape, captions, settings, model)
    }

    /// Where a block lies in the run and in the streams of its phase.
    struct Block {
        /// Counted over all phases.
        let number: Int
        let steps: Range<Int>
        let shape: BlockShape
        /// Its places in the stream of pairs.
        let pairs: Range<Int>
        /// Where it begins in the streams of text.
        let text: Int
        let spareText: Int
    }

    /// The block of a step of the phase.
    func block(of step: Int) -> Block {
        let index = (step - steps.lowerBound) / shape.steps
        let first = steps.lowerBound + index * shape.steps
        let start = shape.pairs(before: index)
        let isShort = lastShape != nil && first + shape.steps > steps.upperBound
        let shape = isShort ? lastShape ?? shape : shape
        let end = isShort ? start + shape.pairs(before: 1) : shape.pairs(before: index + 1)
        return Block(
            number: firstBlock + index, steps: first..<first + shape.steps, shape: shape, pairs: start..<end,
            text: index * self.shape.text, spareText: index * self.shape.spareText)
    }

    /// What this phase and those before have taken once it has ended.
    func end(after position: Position) -> Position {
        let last = block(of: steps.upperBound - 1)
        var end = position
        end.blocks = last.number + 1
        for source in position.pairs.indices {
            if let pairs { end.pairs[source] = pairs.taken(from: source, before: last.pairs.upperBound) }
            if let text { end.text[source] = text.taken(from: source, before: last.text + last.shape.text) }
            if let spareText {
                end.spareText[source] = spareText.taken(from: source, before: last.spareText + last.shape.spareText)
            }
        }
        return end
    }
}

/// The streams of one split of each data set of a mixture.
struct SourceStreams: Sendable {
    let splits: [DatasetManifest.Split]
    /// nil for a data set without pairs.
    let pairs: [PairStream?]
    let text: [TextStream]
    let spareText: [TextStream]

    /// - Parameter model: One without images sees no pairs.
    init(
        _ data: DataMixture, split name: String, _ settings: BatchSettings, _ model: ModelConfiguration
    ) throws(DataError) {
        var splits: [DatasetManifest.Split] = [], pairs: [PairStream?] = []
        var text: [TextStream] = [], spareText: [TextStream] = []
        for (source, dataset) in data.datasets.enumerated() {
            let split = try dataset.split(name)
            guard split.pairs > 0 || split.documents > 0 else {
                throw DataError(dataset.path, "the split \"\(name)\" is empty")
            }
            // The order belongs to the data set as much as to the seed.
            let seed = settings.seed ^ Self.key(dataset.manifest.digest)
            splits.append(split)
            pairs.append(
                split.pairs == 0 || model.images == .none
                    ? nil
                    : PairStream(
                        dataset: dataset, source: source, split: split, settings: settings, seed: seed,
                        originalRows: model.originalRows))
            text.append(
                try TextStream(dataset: dataset, source: source, split: split, seed: seed, purpose: .packing))
            spareText.append(
                try TextStream(dataset: dataset, source: source, split: split, seed: seed, purpose: .sparePacking))
        }
        self.splits = splits
        self.pairs = pairs
        self.text = text
        self.spareText = spareText
    }

    /// What a digest adds to the seed: its first 64 bits.
    static func key(_ digest: String) -> UInt64 { UInt64(digest.prefix(16), radix: 16) ?? 0 }
}
