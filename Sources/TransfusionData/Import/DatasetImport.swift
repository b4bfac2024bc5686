/// Builds a data set from a person's own pictures and texts.
///
/// A folder of pictures has a `metadata.jsonl` with lines `{"file_name": "a.png", "text": "its caption"}`; texts are JSONL
/// files with lines `{"text": "…"}`.
public struct DatasetImport {
    public var folders: [String] = []
    public var texts: [String] = []
    /// Pixels on a side; pictures are cut to their centred square and resized.
    public var size = 32
    /// Pieces of the tokenizer to train.
    public var pieces = 4096
    /// A `.model` file to use instead of training a tokenizer.
    public var tokenizerPath: String?
    /// One pair and one document in so many goes to the split `validation`; 0 for none.
    public var validationEvery = 50

    public init() {}

    public struct Report: Codable, Sendable {
        public var path: String
        public var digest: String
        public var pairs: [String: Int]
        public var documents: [String: Int]
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
    }

    private struct Metadata: Decodable {
        let fileName: String
        let text: String
        enum CodingKeys: String, CodingKey {
            case fileName = "file_name"
            case text
        }
    }

    struct TextLine: Decodable {
        let text: String
    }

    private struct Source {
        let folder: String
        let fileName: String
        let caption: String
        var path: String { folder + "/" + fileName }
    }

    public func build(
        at path: String, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
    ) throws(DataError) -> Report {
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
        try DatasetWriter.refuseExisting(path)

        progress("reading the captions", 0, 0)
        var sources: [Source] = []
        for folder in folders { sources += try Self.sources(in: folder) }
        var tokenizerNotes: [String] = []
        let tokenizer: SentencePieceTokenizer
        if let tokenizerPath {
            tokenizer = try SentencePieceTokenizer(path: tokenizerPath)
        } else {
            progress("training the tokenizer", 0, 0)
            let training = try train(captions: sources.map(\.caption))
            tokenizer = training.tokenizer
            tokenizerNotes = training.notes
        }

        let writer = try DatasetWriter(
            path, image: .init(channels: 3, height: size, width: size, element: .u8), tokenizer: tokenizer,
            description: "imported from "
                + (folders + texts).map { $0.split(separator: "/").last ?? "" }
                .joined(separator: ", "))
        var emptyTexts = 0
        var done = 0
        for split in ["train", "validation"] {
            writer.beginSplit(split)
            for (index, source) in sources.enumerated() where self.split(of: index) == split {
                let bytes = try Files.read(source.path, limit: 1 << 30)
                guard PNG.isPNG(bytes) else {
                    throw DataError(source.path, "is not a PNG picture; convert it, other formats are not read")
                }
                let picture = try PNG.decode(bytes, name: source.path).centreSquare().resized(width: size, height: size)
                let image = try writer.add(image: picture.planes)
                try writer.addPair(key: source.fileName, caption: source.caption, image: image)
                done += 1
                progress("reading pictures", done, sources.count)
            }
            var index = 0
            for file in texts {
                try JSONLines.forEach(file, as: TextLine.self) { number, line throws(DataError) in
                    defer { index += 1 }
                    guard self.split(of: index) == split else { return }
                    if line.text.isEmpty { emptyTexts += 1 } else { try writer.addDocument(line.text) }
                    progress("encoding \(split) text of \(file), line", number, 0)
                }
            }
            guard split != "train" || !writer.isCurrentSplitEmpty else {
                throw DataError(sourceNames, "no text in it to train on; give a file with texts")
            }
        }
        let manifest = try writer.finish()
        let named = Set(sources.map(\.path))
        return Report(
            path: path, digest: manifest.digest,
            pairs: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.pairs) }),
            documents: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.documents) }),
            captionTokens: manifest.splits.reduce(0) { $0 + $1.captionTokens },
            longestCaption: manifest.splits.map(\.longestCaption).max() ?? 0,
            textTokens: manifest.splits.reduce(0) { $0 + $1.textTokens }, vocabulary: tokenizer.vocabulary,
            filesWithoutCaption: folders.reduce(0) { count, folder in
                count
                    + Files.names(in: folder).count {
                        $0.lowercased().hasSuffix(".png") && !named.contains(folder + "/" + $0)
                    }
            }, emptyTexts: emptyTexts, tokenizerNotes: tokenizerNotes)
    }

    private func split(of index: Int) -> String {
        validationEvery > 0 && index % validationEvery == validationEvery - 1 ? "validation" : "train"
    }

    private func train(captions: [String]) throws(DataError) -> TokenizerTraining {
        var corpus = TokenizerCorpus(captions)
        for file in texts { try corpus.addJSONLines(of: file) }
        return try TokenizerTraining(on: corpus, from: sourceNames, pieces: pieces)
    }

    private var sourceNames: String { (folders + texts).joined(separator: ", ") }

    private static func sources(in folder: String) throws(DataError) -> [Source] {
        let metadata = folder + "/metadata.jsonl"
        guard Files.exists(metadata) else {
            throw DataError(
                metadata,
                "is missing; it must hold a line {\"file_name\": …, \"text\": …} for each picture of the folder")
        }
        var sources: [Source] = []
        try JSONLines.forEach(metadata, as: Metadata.self) { number, line throws(DataError) in
            guard !line.fileName.hasPrefix("/"), !line.fileName.split(separator: "/").contains("..") else {
                throw DataError("\(metadata):\(number)", "\(line.fileName) leaves the folder")
            }
            let source = Source(folder: folder, fileName: line.fileName, caption: line.text)
            guard Files.exists(source.path) else {
                throw DataError("\(metadata):\(number)", "there is no file \(line.fileName)")
            }
            sources.append(source)
        }
        guard !sources.isEmpty else { throw DataError(metadata, "names no picture") }
        return sources
    }
}
