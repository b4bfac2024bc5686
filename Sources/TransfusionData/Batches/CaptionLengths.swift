internal import TransfusionModels

/// How long the captions of a split are once they are cut to the longest that is allowed. The original of an edit takes rows as
/// its caption does, and is counted with it.
///
/// Up to 2^20 pairs all are looked at; of more, a sample that the seed decides, so that a run over 10^9 pairs begins at once.
struct CaptionLengths: Sendable {
    private static let mostLookedAt = 1 << 20
    private static let sampleSize = 1 << 16

    let mean: Double
    let meanSquare: Double
    let longest: Int
    /// Captions that are longer than allowed, and their tokens beyond that; estimated from the sample where `isSampled`.
    let cutCaptions: Int
    let cutTokens: Int
    let isSampled: Bool
    /// The share of the pairs that are edits.
    let edits: Double

    /// Patches of a pair on average, those of originals that are not dropped included.
    func meanPatches(_ model: ModelConfiguration, _ settings: BatchSettings) -> Double {
        Double(model.patchesPerImage) * (1 + (1 - settings.captionDropout) * edits)
    }

    /// Those of several data sets, each with its share of the pairs.
    init(mixing parts: [(captions: CaptionLengths, share: Double)]) {
        func mean(_ value: (CaptionLengths) -> Double) -> Double {
            parts.reduce(0) { $0 + $1.share * value($1.captions) }
        }
        self.mean = mean(\.mean)
        meanSquare = mean(\.meanSquare)
        longest = parts.map(\.captions.longest).max() ?? 0
        cutCaptions = parts.reduce(0) { $0 + $1.captions.cutCaptions }
        cutTokens = parts.reduce(0) { $0 + $1.captions.cutTokens }
        isSampled = parts.contains { $0.captions.isSampled }
        edits = mean(\.edits)
    }

    init(_ pairs: PairStream) throws(DataError) {
        let split = pairs.split
        isSampled = split.pairs > Self.mostLookedAt
        let count = isSampled ? Self.sampleSize : split.pairs
        let originals = (split.edits ?? 0) * pairs.originalRows
        edits = Double(split.edits ?? 0) / Double(max(1, split.pairs))
        var sum = 0, squares = 0.0, cut = 0, lost = 0
        for index in 0..<count {
            let record = try pairs.dataset.pair(isSampled ? pairs.pair(at: index) : pairs.pairs.lowerBound + index)
            let length = pairs.length(of: record)
            guard record.captionCount <= split.longestCaption else {
                throw DataError(
                    pairs.dataset.path,
                    "a caption is longer than the manifest says; run 'tf-data verify \(pairs.dataset.path)'")
            }
            let rows = pairs.conditionRows(of: record)
            sum += rows
            squares += Double(rows) * Double(rows)
            cut += length < record.captionCount ? 1 : 0
            lost += record.captionCount - length
        }
        let looked = Double(max(1, count))
        let isWhole = split.longestCaption <= pairs.longestAllowed
        longest = min(split.longestCaption, pairs.longestAllowed) + (originals > 0 ? pairs.originalRows : 0)
        // The manifest knows the mean of whole captions, however many there are.
        mean = isWhole ? Double(split.captionTokens + originals) / Double(max(1, split.pairs)) : Double(sum) / looked
        meanSquare = max(squares / looked, mean * mean)
        cutCaptions = Int((Double(cut) * Double(split.pairs) / looked).rounded())
        cutTokens = Int((Double(lost) * Double(split.pairs) / looked).rounded())
    }
}
