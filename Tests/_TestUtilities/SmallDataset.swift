internal import TransfusionData

/// A data set of a few coloured 8 × 8 pictures and short texts, for tests that train.
public struct SmallDataset {
    public let directory: TemporaryDirectory
    public var path: String { directory.path + "/set" }

    /// - Parameters:
    ///   - channels: Of the pictures; other than 3 for latents.
    ///   - shift: Changes every picture, and so the digest of the set.
    ///   - hasBrokenPicture: Makes one number of one picture no number.
    ///   - edits: How many edits of one picture into the next come after the pictures.
    ///   - hasValidation: Adds other pictures and texts as the split "validation".
    public init(
        channels: Int = 3, shift: Int = 0, hasBrokenPicture: Bool = false, edits: Int = 0, hasValidation: Bool = false
    ) throws {
        directory = try TemporaryDirectory()
        let tokenizer = try Tokenizer(path: Fixtures.path("tokenizer/small.model"))
        let writer = try DatasetWriter(
            try UnfinishedDirectory(path), image: .init(channels: channels, height: 8, width: 8, element: .f32),
            tokenizer: tokenizer,
            description: "made by a test")
        func add(pictures: Range<Int>, texts: Range<Int>) throws {
            for index in pictures { try addPicture(index) }
            for index in texts { try writer.addDocument("text \(index) is the quality of being white") }
        }
        func addPicture(_ index: Int) throws {
            var pixels = (0..<channels * 64).map {
                Float(($0 / 64 * 90 + index * 37 + $0 % 64 + shift) % 256) / 128 - 1
            }
            if hasBrokenPicture, index == 7 { pixels[5] = .nan }
            let bytes = pixels.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
            let image = try writer.add(image: bytes)
            try writer.addPair(key: "picture \(index)", caption: "red circle \(index)", image: image)
        }
        writer.beginSplit("train")
        try add(pictures: 0..<24, texts: 0..<40)
        for edit in 0..<edits {
            try writer.addPair(
                key: "edit \(edit)", caption: "make it blue \(edit)", image: (edit + 1) % 24, original: edit % 24)
        }
        if hasValidation {
            writer.beginSplit("validation")
            try add(pictures: 24..<33, texts: 40..<52)
        }
        _ = try writer.finish()
    }
}
