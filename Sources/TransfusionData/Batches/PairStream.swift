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
    /// Rows that an original takes.
    let originalRows: Int
    private let flips: Bool
    private let seed: UInt64
    /// The dropout probability in units of 2^-32.
    private let dropout: Int

    init(
        dataset: PackedDataset, source: Int, split: DatasetManifest.Split, settings: BatchSettings, seed: UInt64,
        originalRows: Int
    ) {
        self.dataset = dataset
        self.source = source
        self.split = split
        self.seed = seed
        captionFirst = settings.captionFirst
        longestAllowed = settings.longestCaption ?? .max
        self.originalRows = originalRows
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
        /// The image that is shown before the caption, as it is; nil for a pair that is no edit, or comes without it.
        let original: Int?
        /// Rows of what the image is drawn for: the caption and the original.
        let conditionRows: Int
    }

    func element(at position: Int) throws(DataError) -> Element {
        let epoch = position / pairs.count
        let pair = pair(at: position)
        let record = try dataset.pair(pair)
        guard record.captionCount <= split.longestCaption, record.original == nil || split.edits != nil else {
            throw DataError(
                dataset.path, "a pair is longer than the manifest says; run 'tf-data verify \(dataset.path)'")
        }
        let isMirrored =
            flips && Philox(seed: seed, purpose: .horizontalFlip, step: epoch, index: pair).uniform() < 0.5
        let place = placeInDropout(pair, epoch)
        let original = isOriginalDropped(place) ? nil : record.original
        var order = Order.captionFirst
        if place < dropout {
            order = .withoutCaption
        } else if record.original == nil,
            Philox(seed: seed, purpose: .captionFirst, step: epoch, index: pair).uniform() >= captionFirst
        {
            order = .imageFirst
        }
        let captionTokens = order == .withoutCaption ? 0 : length(of: record)
        return Element(
            source: source, pair: pair, record: record, order: order, captionTokens: captionTokens,
            isMirrored: isMirrored, original: original,
            conditionRows: captionTokens + (original == nil ? 0 : originalRows))
    }

    /// Which pair stands at a position of the stream.
    func pair(at position: Int) -> Int {
        let (epoch, place) = position.quotientAndRemainder(dividingBy: pairs.count)
        return pairs.lowerBound + Permutation(count: pairs.count, seed: seed, purpose: .order, epoch: epoch)(place)
    }

    /// How many tokens of a pair's caption are shown when it is not dropped.
    func length(of record: PackedDataset.Pair) -> Int { min(record.captionCount, longestAllowed) }

    /// Rows of a pair's caption and original when neither is dropped.
    func conditionRows(of record: PackedDataset.Pair) -> Int {
        length(of: record) + (record.original == nil ? 0 : originalRows)
    }

    /// Where a pair begins in the cycle of dropouts, in units of 2^-32.
    private func phase(_ pair: Int) -> Int {
        Int(Philox(seed: seed, purpose: .captionDropout, index: pair).words(0).x)
    }

    /// The phase advances by the probability each epoch; a caption is dropped when it has just passed a whole number. So
    /// each pair is dropped equally often.
    private func placeInDropout(_ pair: Int, _ epoch: Int) -> Int { (phase(pair) + epoch * dropout) & 0xFFFF_FFFF }

    /// An original is dropped as often as a caption, half of the times together with it: guidance needs an edit without its
    /// instruction, and without both. InstructPix2Pix (arXiv 2211.09800) section 3.2.1, as in its code.
    private func isOriginalDropped(_ place: Int) -> Bool { (dropout / 2..<dropout / 2 + dropout).contains(place) }
}
