internal import TransfusionCore

/// The image–caption pairs of a split as one endless stream: epoch after epoch, each in an order of its own, each pair
/// exactly once an epoch.
struct PairStream: Sendable {
    let dataset: PackedDataset
    let pairs: Range<Int>
    let captionFirst: Double
    private let seed: UInt64
    /// The dropout probability in units of 2^-32.
    private let dropout: Int

    init(dataset: PackedDataset, split: DatasetManifest.Split, settings: BatchSettings, seed: UInt64) {
        self.dataset = dataset
        self.seed = seed
        pairs = split.pairRange
        captionFirst = settings.captionFirst
        dropout = Int((settings.captionDropout * 0x1p32).rounded())
    }

    enum Order {
        case captionFirst
        case imageFirst
        case withoutCaption
    }

    struct Element {
        let pair: Int
        let record: PackedDataset.Pair
        let order: Order
        var captionTokens: Int { order == .withoutCaption ? 0 : record.captionCount }
    }

    func element(at position: Int) throws(DataError) -> Element {
        let (epoch, place) = position.quotientAndRemainder(dividingBy: pairs.count)
        let shuffle = Permutation(count: pairs.count, seed: seed, purpose: .order, epoch: epoch)
        let pair = pairs.lowerBound + shuffle(place)
        let captionIsFirst =
            Philox(seed: seed, purpose: .captionFirst, step: epoch, index: pair).uniform() < captionFirst
        let order: Order = isDropped(pair, epoch) ? .withoutCaption : captionIsFirst ? .captionFirst : .imageFirst
        return Element(pair: pair, record: try dataset.pair(pair), order: order)
    }

    /// How many caption tokens the stream holds before `position`. Costs one look at each pair of the split, whatever the
    /// position: whole epochs are counted in closed form.
    func captionTokens(before position: Int) throws(DataError) -> Int {
        guard !pairs.isEmpty else { return 0 }
        let (epochs, _) = position.quotientAndRemainder(dividingBy: pairs.count)
        var tokens = 0
        if epochs > 0 {
            for pair in pairs {
                tokens += try dataset.pair(pair).captionCount * (epochs - timesDropped(pair, epochs))
            }
        }
        return tokens + (try captionTokens(in: epochs * pairs.count..<position))
    }

    func captionTokens(in positions: Range<Int>) throws(DataError) -> Int {
        var tokens = 0
        for position in positions { tokens += try element(at: position).captionTokens }
        return tokens
    }

    /// Where a pair stands in the cycle of dropouts, in units of 2^-32.
    private func phase(_ pair: Int) -> Int {
        Int(Philox(seed: seed, purpose: .captionDropout, index: pair).words(0).x)
    }

    /// The phase advances by the probability each epoch; a pair is dropped when it has just passed a whole number. So each
    /// pair is dropped equally often, and how often is known without going through the epochs.
    private func isDropped(_ pair: Int, _ epoch: Int) -> Bool {
        (phase(pair) + epoch * dropout) & 0xFFFF_FFFF < dropout
    }

    /// In how many of the first `epochs` epochs the pair is dropped.
    private func timesDropped(_ pair: Int, _ epochs: Int) -> Int {
        let phase = phase(pair)
        return ((phase + (epochs - 1) * dropout) >> 32) - ((phase - dropout) >> 32)
    }
}
