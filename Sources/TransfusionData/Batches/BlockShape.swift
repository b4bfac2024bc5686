/// How many rows are packed together, and how many pairs and how much text they hold: fixed for a run, from the lengths of
/// its captions.
///
/// Every block gets the same number of pairs (on average; it need not be whole) and the same number of tokens of text, so where
/// a block stands in either stream is one multiplication. What the lengths of its pairs leave beyond that is filled with spare
/// text. A block is so large that this is a small share.
struct BlockShape: Sendable {
    /// Steps whose rows are packed together.
    let steps: Int
    let rows: Int
    /// Pairs of a block in units of 2^-20.
    let pairs: UInt64
    /// Tokens that each block takes from the text stream, in order.
    let text: Int
    /// How far apart blocks begin in the stream of spare text.
    let spareText: Int
    /// Why there are fewer pairs than asked for; nil when there are not.
    let limit: Limit?
    /// Tokens of a pair on average, its patches and markers included.
    let meanPair: Double

    enum Limit: Sendable {
        /// Captions and markers alone are more text than asked for.
        case captions
        /// There is no text to reach the asked ratio with.
        case noText
    }

    static let unit = 0x1p20
    var meanPairs: Double { Double(pairs) / Self.unit }

    /// Pairs of a block at most, unless a step alone has more.
    private static let mostPairs = 1 << 16
    /// The share of a block that is kept free for pairs that are longer than the average.
    private static let spareShare = 1.0 / 128
    /// Of the probability that this is not enough, in a block: e^-16, about one in ten million.
    private static let certainty = 16.0

    /// A shape for a split without pairs.
    static func textOnly(_ settings: BatchSettings) -> BlockShape {
        BlockShape(
            steps: 1, rows: settings.globalSequences, pairs: 0,
            text: settings.globalSequences * settings.sequenceLength, spareText: 0, limit: nil, meanPair: 0)
    }

    /// - Parameter patches: Of a pair on average.
    /// - Parameter overhead: Rows of a pair beside its caption and its original: patches and markers.
    /// - Parameter fixedSteps: The steps of the block, where they are not to be chosen.
    /// - Precondition: The longest pair fits into a row.
    static func fitting(
        _ captions: CaptionLengths, _ stream: MixedPairs, _ settings: BatchSettings, patches: Double,
        overhead: Int, hasText: Bool, steps fixedSteps: Int?
    ) throws(DataError) -> BlockShape {
        let kept = 1 - settings.captionDropout
        let mean = Double(overhead) + kept * captions.mean
        let variance = max(0, kept * captions.meanSquare - (kept * captions.mean) * (kept * captions.mean))
        let longest = Double(overhead + captions.longest)
        let length = settings.sequenceLength
        var trials: [Int32] = []
        let epoch = stream.parts.reduce(0) { $0 + $1.stream.pairs.count }
        var steps = fixedSteps ?? 1
        while true {
            let rows = steps * settings.globalSequences
            let capacity = Double(rows * length)
            let possible = capacity / mean
            // How much longer than on average the pairs of a block may be. A whole epoch is as long as any other.
            let spread = variance * min(possible, Double(epoch))
            let step = longest / 3 * certainty
            let spare = (step + (step * step + 2 * spread * certainty).squareRoot() + longest).rounded(.up)
            let isLarge = possible >= Double(mostPairs) || rows >= 1 << 24
            guard spare <= capacity * spareShare || isLarge || fixedSteps != nil else {
                steps *= 2
                continue
            }
            func gather(_ count: Int) throws(DataError) {
                while trials.count < count {
                    trials.append(Int32(overhead + (try stream.element(at: trials.count).conditionRows)))
                }
            }
            func fits(_ count: Int) -> Bool {
                RowPacking(
                    trials.prefix(count), steps: steps, rowsOfStep: settings.globalSequences, rowLength: length
                ).leftOver.isEmpty
            }
            let wanted = hasText ? capacity / (patches * (1 + settings.textToImageRatio)) : .infinity
            if wanted * mean + spare <= capacity {
                let trial = Int((wanted + spare / mean).rounded(.up))
                try gather(trial)
                if fits(trial) {
                    return BlockShape(
                        steps: steps, rows: rows, pairs: wanted, meanPair: mean, capacity: capacity, spare: spare,
                        hasText: true, limit: nil)
                }
            }
            // As many as a trial shows to fit, less what is spared.
            try gather(Int((possible * 1.25).rounded(.up)))
            var most = 0
            var tooMany = trials.count + 1
            while most + 1 < tooMany {
                let middle = (most + tooMany) / 2
                if fits(middle) { most = middle } else { tooMany = middle }
            }
            let filled = trials.prefix(most).reduce(0) { $0 + Int($1) }
            let pairs = min(wanted, max(Double(rows * (length / Int(longest))), (Double(filled) - spare) / mean))
            return BlockShape(
                steps: steps, rows: rows, pairs: pairs, meanPair: mean, capacity: capacity, spare: spare,
                hasText: hasText, limit: !hasText ? .noText : pairs < wanted ? .captions : nil)
        }
    }

    private init(
        steps: Int, rows: Int, pairs: Double, meanPair: Double, capacity: Double, spare: Double, hasText: Bool,
        limit: Limit?
    ) {
        let left = capacity - pairs * meanPair
        let text = hasText ? max(0, left - spare).rounded(.down) : 0
        self.init(
            steps: steps, rows: rows, pairs: UInt64((pairs * Self.unit).rounded(.down)), text: Int(text),
            spareText: hasText ? Int((left - text + spare).rounded(.up)) : 0, limit: limit, meanPair: meanPair)
    }

    private init(
        steps: Int, rows: Int, pairs: UInt64, text: Int, spareText: Int, limit: Limit?, meanPair: Double
    ) {
        self.steps = steps
        self.rows = rows
        self.pairs = pairs
        self.text = text
        self.spareText = spareText
        self.limit = limit
        self.meanPair = meanPair
    }

    /// How many pairs the blocks before `block` hold.
    func pairs(before block: Int) -> Int {
        let product = UInt64(block).multipliedFullWidth(by: pairs)
        return Int(product.high << 44 | product.low >> 20)
    }
}
