internal import TransfusionSupport

/// Builds a data set from a person's own pictures and texts.
public struct DatasetImport: Sendable {
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
    /// Texts as ids of the given tokenizer, in Megatron-LM's `.bin` and `.idx`, or folders with some.
    public var megatrons: [String] = []
    /// What of a plain text file is one document.
    public var textDocuments = TextDocuments.file
    /// Parquet files with pictures and their captions, or with texts, or folders with some.
    public var parquets: [String] = []
    /// Edits, each a picture, an instruction and the picture that comes of it: what `EditFiles` and `ParquetEdits` read.
    public var edits: [String] = []
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
    /// Whether pictures that are stored like one before them, with their captions, and texts that are equal to one before them are left
    /// out.
    public var deduplicate = false
    /// For tests.
    var picturesInUnit: Int?
    /// What this process does of it.
    public var role = Role.alone
    /// How many pictures and lines that cannot be used are left out. When there are more, there is no data set.
    public var skipBad = 0

    public init() {}

    public enum Role: Sendable {
        case alone
        /// Makes the data set, with the help of others.
        case first
    }

    /// Helps the first process of an import with the same settings, until that has ended.
    /// - Throws: `DataError` when it never began, or is gone without having finished.
    public func help(at path: String) throws(DataError) {
        try checkSettings()
        try ImportHelper.run(self, at: path)
    }

    public struct Report: Codable, Sendable {
        public var path: String
        public var digest: String
        public var pairs: [String: Int]
        /// How many of the pairs are edits.
        public var edits: Int
        public var documents: [String: Int]
        /// Pictures that are different from each other, as they are stored.
        public var images: Int
        public var captionTokens: Int
        public var longestCaption: Int
        /// Tokens of a caption, on average.
        public var meanCaption: Double
        public var textTokens: Int
        public var vocabulary: Int
        /// Of all files of the data set.
        public var bytes: Int
        /// Pictures of the sources that have no caption.
        public var picturesWithoutCaption: Int
        /// Samples of WebDatasets whose download failed, as their metadata say.
        public var failedDownloads: Int
        /// Lines whose text is empty.
        public var emptyTexts: Int
        /// Pictures that are stored like one before them.
        public var duplicatePictures: Int
        /// Texts that are equal to one before them.
        public var duplicateTexts: Int
        public var areDuplicatesLeftOut: Bool
        /// Pictures that a process before this one had done, which was interrupted.
        public var picturesOfBefore: Int
        /// Batches of texts that it had done.
        public var textBatchesOfBefore: Int
        /// Whether the sources had changed since, so that all was done again.
        public var beganAnew: Bool
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
        let directory = try UnfinishedDirectory(continuing: path)
        return try withoutActuallyEscaping(progress) { progress in
            // A mistake in the options does not cost what an interrupted import has done.
            directory.isKept = ImportProgress.read(in: directory.path) != nil
            let run = try ImportRun(self, in: directory, progress)
            directory.isKept = false
            return try run.finish()
        }
    }

    /// What makes one import another: the options that an interrupted one can only be gone on with unchanged.
    var options: [String: String] {
        var options = [
            "the program's version": ProductVersion.number, "the list of sources": sourceNames.joined(separator: ", "),
            "--size": "\(size)", "--fit": fit.rawValue, "--resample": filter.rawValue,
            "--validation-every": "\(validationEvery)", "--deduplicate": "\(deduplicate)",
        ]
        options["--pieces"] = tokenizerPath == nil ? "\(pieces)" : nil
        options["--tokenizer"] = tokenizerPath
        options["--text-documents"] = plainTexts.isEmpty ? nil : textDocuments.rawValue
        options["--text-key"] = textKey
        options["--image-key"] = imageKey
        options["--caption-key"] = captionKey
        return options
    }

    private func checkSettings() throws(DataError) {
        guard !sourceNames.isEmpty else {
            throw DataError(
                wrongUse:
                    "import: neither pictures (--folder, --webdataset, --coco, --parquet, --edits) nor texts (--jsonl, --text,"
                    + " --parquet, --megatron) were given")
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

    /// The split of a text or an image by its number.
    func split(of index: Int) -> String {
        validationEvery > 0 && index % validationEvery == validationEvery - 1 ? "validation" : "train"
    }

    func textFiles() throws(DataError) -> [TextFile] {
        try TextFile.list(texts, .jsonLines(key: textKey ?? TextFile.usualKey))
            + TextFile.list(plainTexts, .plain(textDocuments)) + tokenFiles()
    }

    private func tokenFiles() throws(DataError) -> [TextFile] {
        guard !megatrons.isEmpty else { return [] }
        guard let tokenizerPath else {
            throw DataError(wrongUse: "--megatron: needs --tokenizer, the one that the ids are of")
        }
        let tokenizer = try Tokenizer(path: tokenizerPath)
        return try TextFile.list(
            megatrons,
            .tokens(
                .init(
                    vocabulary: tokenizer.vocabulary, beginOfText: tokenizer.beginOfText,
                    endOfText: tokenizer.endOfText)))
    }

    var sourceNames: [String] {
        folders + webDatasets + captionFiles.map(\.file) + texts + plainTexts + parquets + megatrons + edits
    }

    func sources(_ parquets: [ParquetInput.Pictures]) throws(DataError) -> [any PictureSource] {
        let folders = folders.map { Paths.withoutTrailingSlash($0) }
        for (index, name) in folders.enumerated() where folders[..<index].contains(name) {
            throw DataError(wrongUse: "--folder: \(name) is given twice")
        }
        var prefixes = Self.prefixes(
            of: folders + webDatasets + captionFiles.map(\.file) + parquets.map(\.name) + edits)[...]
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
        for name in edits.map({ Paths.withoutTrailingSlash($0) }) {
            let prefix = prefixes.removeFirst()
            sources.append(
                ParquetEdits.reads(name)
                    ? try ParquetEdits(name, prefix: prefix) : EditFiles(name, prefix: prefix))
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
