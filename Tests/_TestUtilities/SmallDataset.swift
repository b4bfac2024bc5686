internal import TransfusionData

/// A data set of a few coloured 8 × 8 pictures and short texts, for tests that train.
public struct SmallDataset {
    public let directory: TemporaryDirectory
    public var path: String { directory.path + "/set" }

    /// - Parameter shift: Changes every picture, and so the digest of the set.
    public init(shift: Int = 0) throws {
        directory = try TemporaryDirectory()
        let tokenizer = try SentencePieceTokenizer(path: Fixtures.path("tokenizer/small.model"))
        let writer = try DatasetWriter(
            directory.path + "/set", image: .init(channels: 3, height: 8, width: 8, element: .u8), tokenizer: tokenizer,
            description: "made by a test")
        writer.beginSplit("train")
        for index in 0..<24 {
            let pixels = (0..<3 * 64).map { UInt8(($0 / 64 * 90 + index * 37 + $0 % 64 + shift) % 256) }
            let image = try writer.add(image: pixels)
            try writer.addPair(key: "picture \(index)", caption: "red circle \(index)", image: image)
        }
        for index in 0..<40 { try writer.addDocument("text \(index) is the quality of being white") }
        _ = try writer.finish()
    }
}
