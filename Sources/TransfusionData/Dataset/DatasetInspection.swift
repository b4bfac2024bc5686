/// What a data set holds, for a person or a script.
public struct DatasetInspection: Codable, Sendable, CustomStringConvertible {
    public struct PairSample: Codable, Sendable {
        public var pair: Int
        public var key: String
        public var caption: String
        public var tokens: [Int32]
        /// The mean of each channel, which tells at a glance whether an image is blank.
        public var channelMeans: [Float]
        public var variantOf: Int?
        /// The image that the caption changes; nil for a pair that is no edit.
        public var original: Int?
    }

    public struct TextSample: Codable, Sendable {
        public var document: Int
        public var text: String
        public var tokens: Int
    }

    /// How long the captions of a split are: so many of a hundred have at most so many tokens.
    public struct CaptionTokens: Codable, Sendable {
        public var half: Int
        public var ninety: Int
        public var ninetyNine: Int
        public var all: Int

        enum CodingKeys: String, CodingKey {
            case half = "50"
            case ninety = "90"
            case ninetyNine = "99"
            case all = "100"
        }
    }

    /// Captions that are looked at for this; of more, as many that are spread evenly.
    private static let mostLookedAt = 1 << 20

    public var path: String
    public var manifest: DatasetManifest
    public var split: String
    /// nil without pairs.
    public var captionTokens: CaptionTokens?
    /// What the batches of a run would hold, where its configuration is given.
    public var batches: BatchShares?
    public var pairs: [PairSample]
    public var documents: [TextSample]

    /// - Parameters:
    ///   - samples: How many pairs and documents of the split to show, spread evenly.
    ///   - batches: Those of a run, to be shown with the data set.
    public init(
        of dataset: PackedDataset, split name: String, samples: Int, batches: BatchShares? = nil
    ) throws(DataError) {
        self.batches = batches
        path = dataset.path
        manifest = dataset.manifest
        split = name
        pairs = []
        documents = []
        let split = try dataset.split(name)
        let keys = try dataset.keys()
        captionTokens = try Self.captionTokens(dataset, split)
        for index in Self.spread(samples, over: split.pairRange) {
            let pair = try dataset.pair(index)
            let image = try dataset.image(pair.image)
            let plane = image.count / manifest.image.channels
            let means = (0..<manifest.image.channels).map { channel in
                image[channel * plane..<(channel + 1) * plane].reduce(0, +) / Float(plane)
            }
            pairs.append(
                PairSample(
                    pair: index, key: keys[index], caption: try dataset.captionText(pair),
                    tokens: try dataset.caption(pair), channelMeans: means, variantOf: pair.variantOf,
                    original: pair.original))
        }
        for index in Self.spread(samples, over: split.documentRange) {
            let ids = try dataset.document(index)
            documents.append(TextSample(document: index, text: try dataset.tokenizer.decode(ids), tokens: ids.count))
        }
    }

    private static func captionTokens(
        _ dataset: PackedDataset, _ split: DatasetManifest.Split
    ) throws(DataError) -> CaptionTokens? {
        var lengths: [Int] = []
        for index in spread(mostLookedAt, over: split.pairRange) {
            lengths.append(try dataset.pair(index).captionCount)
        }
        guard !lengths.isEmpty else { return nil }
        lengths.sort()
        func quantile(_ hundredths: Int) -> Int { lengths[max(0, (lengths.count * hundredths + 99) / 100 - 1)] }
        return CaptionTokens(
            half: quantile(50), ninety: quantile(90), ninetyNine: quantile(99), all: split.longestCaption)
    }

    private static func spread(_ samples: Int, over range: Range<Int>) -> [Int] {
        let count = min(samples, range.count)
        return (0..<count).map { range.lowerBound + $0 * range.count / count }
    }

    public var description: String {
        let image = manifest.image
        var lines = [
            "\(path): \(manifest.description)",
            "  digest \(manifest.digest)",
            "  images \(manifest.images) of \(image.channels)×\(image.height)×\(image.width) \(image.element.rawValue)",
            "  vocabulary \(manifest.tokens.vocabulary), \(manifest.tokens.bytes) bytes a token, tokenizer"
                + " \(manifest.tokens.tokenizer)",
        ]
        for split in manifest.splits {
            let edits = split.edits.map { ", \($0) of them edits" } ?? ""
            lines.append(
                "  \(split.name): \(split.pairs) pairs\(edits) (\(split.captionTokens) caption tokens, longest"
                    + " \(split.longestCaption)), \(split.documents) documents (\(split.textTokens) tokens)")
        }
        let total = manifest.files.values.reduce(0) { $0 + $1.bytes }
        lines.append("  \(total >> 10) KiB in \(manifest.files.count) files")
        if let captionTokens {
            lines.append(
                "captions of \(split): half have at most \(captionTokens.half) tokens, 90 % at most "
                    + "\(captionTokens.ninety), 99 % at most \(captionTokens.ninetyNine), all at most \(captionTokens.all)"
            )
        }
        if let batches { lines.append("batches: \(batches)") }
        lines.append("samples of \(split):")
        for pair in pairs {
            let means = pair.channelMeans.map { String((Double($0) * 100).rounded() / 100) }.joined(separator: ", ")
            let base =
                (pair.variantOf.map { ", variant of pair \($0)" } ?? "")
                + (pair.original.map { ", edit of image \($0)" } ?? "")
            lines.append("  pair \(pair.pair) [\(pair.key)] \(pair.caption.debugDescription), mean (\(means))\(base)")
        }
        for document in documents { lines.append("  document \(document.document): \(document.text.prefix(160))") }
        return lines.joined(separator: "\n")
    }
}
