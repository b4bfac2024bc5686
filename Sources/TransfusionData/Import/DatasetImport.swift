internal import TransfusionSupport

/// Builds a data set from a person's own pictures and texts.
///
/// A folder of pictures has a `metadata.jsonl` with lines `{"file_name": "a.png", "text": "its caption"}`; texts are JSONL
/// files with lines `{"text": "…"}`.
public struct DatasetImport {
    public var folders: [String] = []
    public var texts: [String] = []
    /// Pixels on a side.
    public var size = 32
    public var fit = Picture.Fit.crop
    public var filter = Picture.Filter.bicubic
    /// Pieces of the tokenizer to train.
    public var pieces = 4096
    /// A `.model` file to use instead of training a tokenizer.
    public var tokenizerPath: String?
    /// One picture, with all of its captions, and one document in so many goes to the split `validation`; 0 for none.
    public var validationEvery = 50
    /// How many pictures and lines that cannot be used are left out. When there are more, there is no data set.
    public var skipBad = 0

    public init() {}

    public struct Report: Codable, Sendable {
        public var path: String
        public var digest: String
        public var pairs: [String: Int]
        public var documents: [String: Int]
        /// Pictures that are different from each other, as they are stored.
        public var images: Int
        public var captionTokens: Int
        public var longestCaption: Int
        public var textTokens: Int
        public var vocabulary: Int
        /// PNG files of the folders that no line of metadata names.
        public var filesWithoutCaption: Int
        /// Lines whose text is empty.
        public var emptyTexts: Int
        /// What the training of the tokenizer left out, cut or made smaller.
        public var tokenizerNotes: [String]
        /// Pictures and lines that cannot be used, each with the reason.
        public var skipped: [String]
    }

    /// - Throws: `BadInputError` when more pictures and lines than `skipBad` cannot be used, `DataError` for all else.
    public func build(
        at path: String, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
    ) throws -> Report {
        try checkSettings()
        let directory = try UnfinishedDirectory(path)
        var bad = BadInput(allowed: skipBad)
        let pictures = try PictureList(folders, bad: &bad, progress: progress)
        let texts = try TextList(texts, bad: &bad, progress: progress)
        try bad.check()
        progress("training the tokenizer", 0, 0)
        let (tokenizer, tokenizerNotes) = try tokenizer(captions: pictures.pairs.map(\.caption))

        let writer = try DatasetWriter(
            directory, image: .init(channels: 3, height: size, width: size, element: .u8), tokenizer: tokenizer,
            description: "imported from " + (folders + self.texts).map { Paths.name(of: $0) }.joined(separator: ", "))
        let images = try write(pictures.files, to: writer, bad: &bad, progress)
        try bad.check()
        for split in ["train", "validation"] {
            writer.beginSplit(split)
            for (done, pair) in pictures.pairs.enumerated() {
                guard let image = images[pair.file], self.split(of: image) == split else { continue }
                try writer.addPair(key: pictures.files[pair.file].key, caption: pair.caption, image: image)
                progress("encoding \(split) captions", done, pictures.pairs.count)
            }
            try texts.forEach(where: { self.split(of: $0) == split }) { (text, file, line) throws(DataError) in
                try writer.addDocument(text)
                progress("encoding \(split) text of \(file), line", line, 0)
            }
            guard split != "train" || !writer.isCurrentSplitEmpty else {
                throw DataError(sourceNames, "no text in it to train on; give a file with texts")
            }
        }
        let manifest = try writer.finish(progress: progress)
        return Report(
            path: directory.place, digest: manifest.digest,
            pairs: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.pairs) }),
            documents: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.documents) }),
            images: manifest.images, captionTokens: manifest.splits.reduce(0) { $0 + $1.captionTokens },
            longestCaption: manifest.splits.map(\.longestCaption).max() ?? 0,
            textTokens: manifest.splits.reduce(0) { $0 + $1.textTokens }, vocabulary: tokenizer.vocabulary,
            filesWithoutCaption: pictures.filesWithoutCaption, emptyTexts: texts.emptyTexts,
            tokenizerNotes: tokenizerNotes, skipped: bad.named.map(\.description))
    }

    private func checkSettings() throws(DataError) {
        guard !folders.isEmpty || !texts.isEmpty else {
            throw DataError(
                wrongUse: "import: neither a folder of pictures (--folder) nor a text file (--jsonl) was given")
        }
        guard (1...4096).contains(size) else { throw DataError(wrongUse: "--size: \(size) is outside 1 … 4096") }
        guard validationEvery >= 0 else {
            throw DataError(wrongUse: "--validation-every: \(validationEvery) is negative")
        }
        guard validationEvery != 1 else {
            throw DataError(
                wrongUse: "--validation-every: 1 leaves nothing to train on; give 0 for none, or 2 and more")
        }
        guard skipBad >= 0 else { throw DataError(wrongUse: "--skip-bad: \(skipBad) is negative") }
    }

    /// Brings the pictures to their size and stores them, one after the other.
    /// - Returns: The number of each file's image; nil for a file that cannot be used. All are read to the end, so that one
    ///   error names all of these.
    private func write(
        _ files: [PictureList.File], to writer: DatasetWriter, bad: inout BadInput,
        _ progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) -> [Int?] {
        var images: [Int?] = []
        for file in files {
            let picture: Picture?
            do throws(DataError) {
                picture = try PictureFile.read(file.path)
            } catch {
                picture = nil
                bad.add(error)
            }
            let planes = picture?.square(size, fit, filter: filter).planes
            images.append(try planes.map { (planes) throws(DataError) in try writer.add(image: planes) })
            progress("reading pictures", images.count, files.count)
        }
        return images
    }

    private func split(of index: Int) -> String {
        validationEvery > 0 && index % validationEvery == validationEvery - 1 ? "validation" : "train"
    }

    private func tokenizer(
        captions: [String]
    ) throws(DataError) -> (tokenizer: SentencePieceTokenizer, notes: [String]) {
        if let tokenizerPath { return (try SentencePieceTokenizer(path: tokenizerPath), []) }
        var corpus = TokenizerCorpus(captions)
        for file in texts { try corpus.addJSONLines(of: file) }
        let training = try TokenizerTraining(on: corpus, from: sourceNames, pieces: pieces)
        return (training.tokenizer, training.notes)
    }

    private var sourceNames: String { (folders + texts).joined(separator: ", ") }
}
