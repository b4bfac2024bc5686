internal import TransfusionCore
internal import TransfusionSupport

/// Builds a data set from a person's own pictures and texts.
public struct DatasetImport {
    /// Folders of pictures with a `metadata.jsonl`, a `metadata.csv`, or a text file beside each picture.
    public var folders: [String] = []
    /// Shards of WebDatasets: brace lists of tar files, or directories of them.
    public var webDatasets: [String] = []
    /// Files of captions as COCO or Karpathy have them, and the folder of the pictures that each names.
    public var captionFiles: [(file: String, pictures: String)] = []
    /// JSONL files with lines `{"text": "…"}`, or folders with some. They and plain text may be compressed by gzip or zstd.
    public var texts: [String] = []
    /// Plain text files, or folders with some.
    public var plainTexts: [String] = []
    /// What of a plain text file is one document.
    public var textDocuments = TextDocuments.file
    /// Parquet files with pictures and their captions, or with texts, or folders with some.
    public var parquets: [String] = []
    /// The column of the pictures in Parquet files; nil to look for it.
    public var imageKey: String?
    /// The key or the column of the texts; nil for `text`. Parquet files are read as texts where it is given and no column of pictures is.
    public var textKey: String?
    /// Where captions lie in metadata; nil for the first of `text`, `caption` and `prompt`.
    public var captionKey: String?
    /// Pixels on a side.
    public var size = 32
    public var fit = Picture.Fit.crop
    public var filter = Picture.Filter.bicubic
    /// Pieces of the tokenizer to train.
    public var pieces = 4096
    /// A tokenizer's file to use instead of training one.
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
        /// Pictures of the sources that have no caption.
        public var picturesWithoutCaption: Int
        /// Samples of WebDatasets whose download failed, as their metadata say.
        public var failedDownloads: Int
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
        let parquet = try ParquetInput(parquets, imageKey: imageKey, textKey: textKey)
        let sources = try sources(parquet.pictures)
        let pictures = try PictureList(in: directory)
        for source in sources { try source.list(to: pictures, bad: &bad, progress: progress) }
        try pictures.close()
        let texts = TextList(try textFiles() + parquet.texts)
        let (tokenizer, tokenizerNotes) = try tokenizer(pictures, texts, bad: &bad, progress)

        let writer = try DatasetWriter(
            directory, image: .init(channels: 3, height: size, width: size, element: .u8), tokenizer: tokenizer,
            description: "imported from " + sourceNames.map { Paths.name(of: $0) }.joined(separator: ", "))
        let images = try write(sources, of: pictures, to: writer, bad: &bad, progress)
        try bad.check()
        try write(pictures, texts, images, to: writer, tokenizer, bad: &bad, progress)
        let manifest = try writer.finish(progress: progress)
        return Report(
            path: directory.place, digest: manifest.digest,
            pairs: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.pairs) }),
            documents: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.documents) }),
            images: manifest.images, captionTokens: manifest.splits.reduce(0) { $0 + $1.captionTokens },
            longestCaption: manifest.splits.map(\.longestCaption).max() ?? 0,
            textTokens: manifest.splits.reduce(0) { $0 + $1.textTokens }, vocabulary: tokenizer.vocabulary,
            picturesWithoutCaption: pictures.withoutCaption,
            failedDownloads: pictures.failedDownloads, emptyTexts: texts.emptyTexts,
            tokenizerNotes: tokenizerNotes, skipped: bad.named.map(\.description))
    }

    private func checkSettings() throws(DataError) {
        guard !sourceNames.isEmpty else {
            throw DataError(
                wrongUse:
                    "import: neither pictures (--folder, --webdataset, --coco, --parquet) nor texts (--jsonl, --text,"
                    + " --parquet) were given")
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

    /// Brings the pictures to their size, on all cores, and stores them one after the other.
    /// - Returns: The number of each picture's image; nil for one that cannot be used. All are read to the end, so that one
    ///   error names all of these.
    private func write(
        _ sources: [any PictureSource], of list: PictureList, to writer: DatasetWriter, bad: inout BadInput,
        _ progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) -> [UInt32?] {
        var images: [UInt32?] = []
        images.reserveCapacity(list.count)
        var resizing = PictureResizing(size: size, fit: fit, filter: filter)
        func store(_ planes: Result<[UInt8], DataError>) throws(DataError) {
            switch planes {
            case .success(let planes): images.append(UInt32(try writer.add(image: planes)))
            case .failure(let problem):
                images.append(nil)
                bad.add(problem)
            }
            progress("reading pictures", images.count, list.count)
        }
        for source in sources {
            try source.forEachPicture { (picture) throws(DataError) in try resizing.add(picture, store) }
            try resizing.finish(store)
        }
        guard images.count == list.count else {
            throw DataError(
                sourceNames.joined(separator: ", "), "changed while it was read; leave it alone and run again")
        }
        return images
    }

    /// Writes the captions and texts, split by split.
    private func write(
        _ pictures: PictureList, _ texts: TextList, _ images: [UInt32?], to writer: DatasetWriter,
        _ tokenizer: Tokenizer, bad: inout BadInput, _ progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws {
        let splits = splits(of: images, pictures)
        for (number, split) in PictureList.splitNames.enumerated() {
            writer.beginSplit(split)
            for place in 0..<pictures.captionCount {
                let picture = pictures.picture(at: place)
                guard let image = images[picture], splits[Int(image)] == number else { continue }
                try writer.addPair(
                    key: pictures.key(of: picture), caption: pictures.caption(at: place), image: Int(image))
                progress("encoding \(split) captions", place, pictures.captionCount)
            }
            if split == "held_out" || (split == "validation" && validationEvery == 0) { continue }
            try texts.forEach(
                "encoding \(split) text", bad: &bad, progress: progress, where: { self.split(of: $0) == split },
                { (text) throws(DataError) in writer.stored(try tokenizer.encode(text)) },
                { (tokens, _, _) throws(DataError) in try writer.addDocument(stored: tokens) })
            try bad.check()
            guard split != "train" || !writer.isCurrentSplitEmpty else {
                throw DataError(
                    sourceNames.joined(separator: ", "), "no text in it to train on; give a file with texts")
            }
        }
    }

    /// The split of each image by its number among `PictureList.splitNames`. All that show one image go where the first says.
    private func splits(of images: [UInt32?], _ pictures: PictureList) -> [UInt8] {
        let count = images.lazy.compactMap { $0 }.max().map { Int($0) + 1 } ?? 0
        var splits = [UInt8](repeating: UInt8.max, count: count)
        for (picture, image) in images.enumerated() {
            guard let image, splits[Int(image)] == UInt8.max else { continue }
            let name = pictures.split(of: picture) ?? split(of: Int(image))
            splits[Int(image)] = UInt8(PictureList.splitNames.firstIndex(of: name) ?? 0)
        }
        return splits
    }

    private func split(of index: Int) -> String {
        validationEvery > 0 && index % validationEvery == validationEvery - 1 ? "validation" : "train"
    }

    private func tokenizer(
        _ pictures: PictureList, _ texts: TextList, bad: inout BadInput,
        _ progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws -> (tokenizer: Tokenizer, notes: [String]) {
        if let tokenizerPath {
            let tokenizer = try Tokenizer(path: tokenizerPath)
            // Else texts are checked while they are encoded. One error names what is bad in pictures and in texts.
            if pictures.count + bad.count > 0 {
                try texts.forEach(
                    "checking text", bad: &bad, progress: progress, where: { _ in false },
                    { (_) throws(DataError) in }, { (_, _, _) throws(DataError) in })
            }
            try bad.check()
            return (tokenizer, [])
        }
        var corpus = TokenizerCorpus()
        pictures.addCaptions(to: &corpus)
        try texts.forEach(
            "reading text", bad: &bad, progress: progress,
            { (text) throws(DataError) in
                // The beginning of a long text is read, and one character tells that there was more.
                String(decoding: text.prefix(TokenizerCorpus.longestText + 4), as: UTF8.self)
            },
            { (text, file, number) throws(DataError) in corpus.add(text, source: file, number: number) })
        try bad.check()
        progress("training the tokenizer", 0, 0)
        let training = try TokenizerTraining(on: corpus, from: sourceNames.joined(separator: ", "), pieces: pieces)
        return (training.tokenizer, training.notes)
    }

    private func textFiles() throws(DataError) -> [TextFile] {
        try TextFile.list(texts, .jsonLines(key: textKey ?? TextFile.usualKey))
            + TextFile.list(plainTexts, .plain(textDocuments))
    }

    private var sourceNames: [String] {
        folders + webDatasets + captionFiles.map(\.file) + texts + plainTexts + parquets
    }

    private func sources(_ parquets: [ParquetInput.Pictures]) throws(DataError) -> [any PictureSource] {
        let folders = folders.map { Paths.withoutTrailingSlash($0) }
        for (index, name) in folders.enumerated() where folders[..<index].contains(name) {
            throw DataError(wrongUse: "--folder: \(name) is given twice")
        }
        var prefixes = Self.prefixes(
            of: folders + webDatasets + captionFiles.map(\.file) + parquets.map(\.name))[...]
        let keys = CaptionKeys(captionKey)
        var sources: [any PictureSource] = []
        for name in folders {
            sources.append(
                PictureFolder(name, prefix: prefixes.removeFirst(), captionKeys: keys, apartFrom: folders))
        }
        for pattern in webDatasets {
            sources.append(try WebDataset(pattern, prefix: prefixes.removeFirst(), captionKeys: keys))
        }
        for (file, pictures) in captionFiles {
            sources.append(
                try CaptionFile(
                    file, pictures: Paths.withoutTrailingSlash(pictures), prefix: prefixes.removeFirst()))
        }
        for pictures in parquets {
            sources.append(
                ParquetPictures(
                    pictures.name, pictures.files, prefix: prefixes.removeFirst(), captionKeys: keys))
        }
        return sources
    }

    /// What comes before a picture's name, so that pictures of different sources are called differently: nothing for one source,
    /// else the source's name, or its path where two have the same name.
    private static func prefixes(of sources: [String]) -> [String] {
        guard sources.count > 1 else { return sources.map { _ in "" } }
        let names = sources.map { Paths.name(of: $0) }
        return (Set(names).count == names.count ? names : sources).map { $0 + "/" }
    }
}
