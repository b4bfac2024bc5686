internal import TransfusionCore

/// Builds a data set of a few thousand photographs, drawings and their captions from Debian's packages, with definitions and
/// sayings as text.
public struct GalleryDataset {
    /// Pixels on a side; pictures are put on a white square and resized.
    public var size = 64
    /// Pieces of the tokenizer to train.
    public var pieces = 4096
    /// A `.model` file to use instead of training a tokenizer.
    public var tokenizerPath: String?
    public var stampsDirectory = Stamps.defaultDirectory
    public var clipArtDirectory = ClipArt.defaultDirectory
    public var wordNetDirectory = WordNet.defaultDirectory
    public var fortunesDirectory = Fortunes.defaultDirectory

    /// Of a hundred pictures, and texts, so many are for validation, and as many for tests.
    static let heldBack = 3

    public init() {}

    /// What was built, and what was left out and why.
    public struct Report: Codable, Sendable {
        public var path: String
        public var digest: String
        public var pairs: [String: Int]
        public var documents: [String: Int]
        public var captionTokens: Int
        public var textTokens: Int
        public var vocabulary: Int
        public var tokenizerDigest: String
        /// Pictures of which nothing is said.
        public var withoutCaption: Int
        /// Pictures of one colour.
        public var blank: Int
        /// Pictures that cannot be read, each with the reason.
        public var unreadable: [String]
        /// What the training of the tokenizer left out, cut or made smaller.
        public var tokenizerNotes: [String]
    }

    /// A picture as it is stored.
    private struct Stored {
        let source: GalleryPicture
        let image: Int
        let split: String
    }

    /// - Parameter progress: Told what is being done, how much of it is done, and of how much (0 when that is not known).
    public func build(
        at path: String, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
    ) throws(DataError) -> Report {
        guard (8...256).contains(size) else {
            throw DataError(wrongUse: "--size: \(size) is outside 8 … 256; most of the pictures have about 200 pixels")
        }
        let directory = try UnfinishedDirectory(path)
        progress("reading the captions", 0, 0)
        let stamps = try Stamps.pictures(stampsDirectory), clipArt = try ClipArt.pictures(clipArtDirectory)
        let sources = stamps.pictures + clipArt.pictures
        let texts = ExampleText.shuffled(try WordNet.texts(wordNetDirectory) + Fortunes.texts(fortunesDirectory))
        progress("training the tokenizer", 0, 0)
        let (tokenizer, tokenizerNotes) = try ExampleText.tokenizer(
            tokenizerPath, captions: sources.map(\.caption), texts, pieces: pieces)

        let writer = try DatasetWriter(
            directory, image: .init(channels: 3, height: size, width: size, element: .u8), tokenizer: tokenizer,
            description:
                "pictures of tuxpaint-stamps-default and openclipart with their captions; text of WordNet and fortunes")
        var blank = 0, unreadable: [String] = []
        var stored: [Stored] = [], entries: [ContactSheet.Entry] = []
        for (place, source) in sources.enumerated() {
            progress("reading pictures", place, sources.count)
            let original: Picture
            do throws(DataError) {
                original = try PictureFile.read(source.path)
            } catch {
                unreadable.append(error.description)
                continue
            }
            guard !Self.isBlank(original) else {
                blank += 1
                continue
            }
            let picture = fitted(original), split = Self.split(of: original)
            stored.append(Stored(source: source, image: try writer.add(image: picture.planes), split: split))
            if place % max(1, sources.count / Self.sheetEntries) == 0 {
                entries.append(.init(label: source.caption, note: split == "train" ? nil : split, pictures: [picture]))
            }
        }
        try write(stored, texts, to: writer, at: path, progress: progress)
        let sheet = try ContactSheet(entries: entries, columns: 8).render()
        try writer.add(
            file: PackedDataset.FileName.sheet,
            contents: try PNG.encode(rgb: sheet.rgb, width: sheet.width, height: sheet.height))
        let manifest = try writer.finish(progress: progress)
        return Report(
            path: directory.place, digest: manifest.digest,
            pairs: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.pairs) }),
            documents: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.documents) }),
            captionTokens: manifest.splits.reduce(0) { $0 + $1.captionTokens },
            textTokens: manifest.splits.reduce(0) { $0 + $1.textTokens }, vocabulary: tokenizer.vocabulary,
            tokenizerDigest: tokenizer.digest, withoutCaption: stamps.withoutCaption + clipArt.withoutCaption,
            blank: blank, unreadable: unreadable, tokenizerNotes: tokenizerNotes)
    }

    /// The pairs and texts of each split.
    private func write(
        _ stored: [Stored], _ texts: [String], to writer: DatasetWriter, at path: String,
        progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        for split in ["train", "validation", "test"] {
            writer.beginSplit(split)
            for pair in stored where pair.split == split {
                try writer.addPair(key: pair.source.key, caption: pair.source.caption, image: pair.image)
            }
            for (place, text) in texts.enumerated() where Self.split(of: place) == split {
                try writer.addDocument(text)
                if place % 1000 == 0 { progress("encoding \(split) text", place, texts.count) }
            }
            guard split != "train" || !writer.isCurrentSplitEmpty else {
                throw DataError(path, "no picture and no text can be used")
            }
        }
    }

    /// Pictures on the sheet, about.
    private static let sheetEntries = 120

    /// By the pixels of the picture as it came: copies of it, wherever they lie, go together, at any size.
    private static func split(of picture: Picture) -> String {
        split(ofHundredth: Int(picture.rgb.withUnsafeBytes(SHA256.shortDigest) % 100))
    }

    /// Of a text.
    private static func split(of place: Int) -> String { split(ofHundredth: place % 100) }

    private static func split(ofHundredth hundredth: Int) -> String {
        hundredth < heldBack ? "validation" : hundredth < 2 * heldBack ? "test" : "train"
    }

    private static func isBlank(_ picture: Picture) -> Bool {
        let first = picture.rgb.prefix(3)
        return picture.rgb.indices.allSatisfy { picture.rgb[$0] == first[$0 % 3] }
    }

    /// Centred on a white square and brought to the wanted size.
    private func fitted(_ picture: Picture) -> Picture {
        let side = max(picture.width, picture.height)
        var square = Picture(width: side, height: side)
        square.draw(picture, x: (side - picture.width) / 2, y: (side - picture.height) / 2)
        return square.resized(width: size, height: size)
    }
}
