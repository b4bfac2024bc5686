internal import TransfusionCore

/// The image–caption pairs of a split as one endless stream: epoch after epoch, each in an order of its own, each pair
/// exactly once an epoch.
struct PairStream: Sendable {
    let dataset: PackedDataset
    /// The place of the data set in the mixture.
    let source: Int
    let split: DatasetManifest.Split
    var pairs: Range<Int> { split.pairRange }
    let captionFirst: Double
    /// Tokens of a caption at most; what is longer is cut.
    let longestAllowed: Int
    private let flips: Bool
    private let seed: UInt64
    /// The dropout probability in units of 2^-32.
    private let dropout: Int

    init(
        dataset: PackedDataset, source: Int, split: DatasetManifest.Split, settings: BatchSettings, seed: UInt64
    ) {
        self.dataset = dataset
        self.source = source
        self.split = split
        self.seed = seed
        captionFirst = settings.captionFirst
        longestAllowed = settings.longestCaption ?? .max
        flips = settings.horizontalFlip && split.name == "train"
        dropout = Int((settings.captionDropout * 0x1p32).rounded())
    }

    enum Order {
        case captionFirst
        case imageFirst
        case withoutCaption
    }

    struct Element {
        /// The data set's place in the mixture.
        let source: Int
        let pair: Int
        let record: PackedDataset.Pair
        let order: Order
        /// Tokens of the caption that are shown.
        let captionTokens: Int
        let isMirrored: Bool
    }

    func element(at position: Int) throws(DataError) -> Element {
        let epoch = position / pairs.count
        let pair = pair(at: position)
        let record = try dataset.pair(pair)
        guard record.captionCount <= split.longestCaption else {
            throw DataError(
                dataset.path, "a caption is longer than the manifest says; run 'tf-data verify \(dataset.path)'")
        }
        let isMirrored =
            flips && Philox(seed: seed, purpose: .horizontalFlip, step: epoch, index: pair).uniform() < 0.5
        if isDropped(pair, epoch) {
            return Element(
                source: source, pair: pair, record: record, order: .withoutCaption, captionTokens: 0,
                isMirrored: isMirrored)
        }
        let captionIsFirst =
            Philox(seed: seed, purpose: .captionFirst, step: epoch, index: pair).uniform() < captionFirst
        return Element(
            source: source, pair: pair, record: record, order: captionIsFirst ? .captionFirst : .imageFirst,
            captionTokens: length(of: record), isMirrored: isMirrored)
    }

    /// Which pair stands at a position of the stream.
    func pair(at position: Int) -> Int {
        let (epoch, place) = position.quotientAndRemainder(dividingBy: pairs.count)
        return pairs.lowerBound + Permutation(count: pairs.count, seed: seed, purpose: .order, epoch: epoch)(place)
    }

    /// How many tokens of a pair's caption are shown when it is not dropped.
    func length(of record: PackedDataset.Pair) -> Int { min(record.captionCount, longestAllowed) }

    /// Where a pair stands in the cycle of dropouts, in units of 2^-32.
    private func phase(_ pair: Int) -> Int {
        Int(Philox(seed: seed, purpose: .captionDropout, index: pair).words(0).x)
    }

    /// The phase advances by the probability each epoch; a pair is dropped when it has just passed a whole number. So each
    /// pair is dropped equally often.
    private func isDropped(_ pair: Int, _ epoch: Int) -> Bool {
        (phase(pair) + epoch * dropout) & 0xFFFF_FFFF < dropout
    }
}
