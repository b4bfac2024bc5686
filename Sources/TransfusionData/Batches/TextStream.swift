internal import TransfusionCore

/// The text documents of a split as one endless stream of `[BOS] text [EOS]`, in another order in each pass.
///
/// A pass cuts the concatenated documents into chunks and shuffles the chunks, so the token at any position of the stream is
/// found without reading what comes before it. Each token appears exactly once in a pass.
struct TextStream: Sendable {
    /// Tokens of a chunk; documents are cut where chunks end.
    static let chunkLength = 1024

    let dataset: PackedDataset
    /// The place of the data set in the mixture.
    let source: Int
    let documents: Range<Int>
    /// Tokens of one pass: the documents' own and two for the markers of each.
    let passLength: Int
    private let firstToken: Int
    private let seed: UInt64
    private let purpose: Philox.Purpose

    /// - Parameter purpose: Streams for different purposes have orders of their own.
    init(
        dataset: PackedDataset, source: Int, split: DatasetManifest.Split, seed: UInt64, purpose: Philox.Purpose
    ) throws(DataError) {
        self.dataset = dataset
        self.source = source
        self.seed = seed
        self.purpose = purpose
        documents = split.documentRange
        firstToken = try dataset.documentStart(documents.lowerBound)
        let tokens = try dataset.documentStart(documents.upperBound) - firstToken
        guard tokens == split.textTokens else {
            throw DataError(dataset.path, "the text of the split \"\(split.name)\" is not as long as the manifest says")
        }
        passLength = tokens + 2 * documents.count
    }

    /// A run of one document's `[BOS] text [EOS]`.
    struct Fragment {
        /// The data set's place in the mixture.
        let source: Int
        let hasBeginning: Bool
        /// Where the tokens lie in the data set's text.
        let text: Range<Int>
        let hasEnd: Bool
        var count: Int { (hasBeginning ? 1 : 0) + text.count + (hasEnd ? 1 : 0) }
    }

    /// Gives the fragments that make up `count` tokens of the stream from `start` on.
    func forEachFragment(
        from start: Int, count: Int, _ body: (Fragment) throws(DataError) -> Void
    ) throws(DataError) {
        var position = start
        let end = start + count
        while position < end {
            let (pass, offset) = position.quotientAndRemainder(dividingBy: passLength)
            let (place, within) = offset.quotientAndRemainder(dividingBy: Self.chunkLength)
            let wholeChunks = passLength / Self.chunkLength
            // The last chunk is shorter and keeps its place, so that every chunk starts at a multiple of the length.
            let chunk =
                place < wholeChunks
                ? Permutation(count: wholeChunks, seed: seed, purpose: purpose, epoch: pass)(place) : place
            let from = chunk * Self.chunkLength + within
            let length = min(end - position, min((chunk + 1) * Self.chunkLength, passLength) - from)
            try forEachFragment(ofCorpus: from..<from + length, body)
            position += length
        }
    }

    /// Where a document begins in the concatenation, its BOS included.
    private func start(of document: Int) throws(DataError) -> Int {
        try dataset.documentStart(document) - firstToken + 2 * (document - documents.lowerBound)
    }

    private func forEachFragment(
        ofCorpus range: Range<Int>, _ body: (Fragment) throws(DataError) -> Void
    ) throws(DataError) {
        var document = try lastDocument(startingAtOrBefore: range.lowerBound)
        var position = range.lowerBound
        while position < range.upperBound {
            let documentStart = try start(of: document)
            let documentEnd = try start(of: document + 1)
            guard documentStart <= position, position < documentEnd else {
                throw DataError(
                    dataset.path, "the documents' index is not in order; run 'tf-data verify \(dataset.path)'")
            }
            let end = min(range.upperBound, documentEnd)
            let textStart = try dataset.documentStart(document)
            let hasBeginning = position == documentStart
            let hasEnd = end == documentEnd
            let from = textStart + (hasBeginning ? 0 : position - documentStart - 1)
            let to = textStart + (end - documentStart - 1) - (hasEnd ? 1 : 0)
            try body(
                Fragment(source: source, hasBeginning: hasBeginning, text: from..<max(from, to), hasEnd: hasEnd))
            position = end
            document += 1
        }
    }

    private func lastDocument(startingAtOrBefore position: Int) throws(DataError) -> Int {
        var low = documents.lowerBound
        var high = documents.upperBound
        while low + 1 < high {
            let middle = (low + high) / 2
            if try start(of: middle) <= position { low = middle } else { high = middle }
        }
        return low
    }
}
