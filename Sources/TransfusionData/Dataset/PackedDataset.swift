internal import TransfusionSupport

/// A data set of image–caption pairs and text documents, mapped into memory.
///
/// Every number that comes from the files is checked before it is used as an address; what does not fit is an error that
/// names the file. docs/data-format.md describes the files.
public final class PackedDataset: Sendable {
    public let path: String
    public let manifest: DatasetManifest
    public let tokenizer: Tokenizer
    private let captions: MappedFile
    private let text: MappedFile
    private let pairs: MappedFile
    /// The image that each pair's caption changes into its own; nil in a data set without edits.
    private let originals: MappedFile?
    private let documents: MappedFile
    private let images: MappedFile
    private let keyLines: MappedFile

    /// The files of a data set beside its manifest.
    enum FileName {
        static let captions = "captions.tokens"
        static let text = "text.tokens"
        static let pairs = "pairs.index"
        /// Only in data sets with edits.
        static let originals = "originals.index"
        static let documents = "documents.index"
        static let images = "images.bin"
        static let keys = "keys.txt"
        /// All but the tokenizer's, whose name depends on its form.
        static let all = [captions, text, pairs, documents, images, keys]
        /// What made the latents, in a data set of some.
        static let autoencoder = "autoencoder.safetensors"
        /// Pictures for people to look at, which some data sets have.
        static let sheet = "sheet.png"
    }

    /// Bytes of one record of `pairs.index`.
    static let pairBytes = 24
    /// The link of a pair that has none.
    static let noLink = UInt32.max
    /// Bytes of one number of `originals.index`, and the number of a pair that is no edit.
    static let originalBytes = 8
    static let noOriginal = UInt64.max

    /// One image with its caption.
    public struct Pair: Equatable, Sendable {
        public let captionStart: Int
        public let captionCount: Int
        public let image: Int
        /// The pair that this one is a variant of, as a skin tone is of its base emoji.
        public let variantOf: Int?
        /// The image that the caption, an instruction, changes into `image`; nil for a pair that is no edit.
        public let original: Int?
    }

    /// Opens a data set: sizes, the manifest's digest and the tokenizer's digest are checked now, the contents of the large
    /// files by `verify`.
    public init(_ path: String) throws(DataError) {
        self.path = path
        guard !Files.isMissing(path + "/" + DatasetManifest.fileName) else {
            throw DataError(path, Self.absence(at: path))
        }
        let manifest = try DatasetManifest.read(path + "/" + DatasetManifest.fileName)
        try Self.checkShape(manifest, path)
        func map(_ name: String, elements: Int, bytesEach: Int) throws(DataError) -> MappedFile {
            let (expected, overflow) = elements.multipliedReportingOverflow(by: bytesEach)
            guard let file = manifest.files[name], !overflow, elements >= 0, file.bytes == expected else {
                throw DataError(path, "the manifest's counts do not fit the size it gives for \(name)")
            }
            return try MappedFile(path + "/" + name, expectedBytes: file.bytes)
        }
        func unstructured(_ name: String) throws(DataError) -> MappedFile {
            try map(name, elements: manifest.files[name]?.bytes ?? -1, bytesEach: 1)
        }
        func tokens(_ name: String) throws(DataError) -> MappedFile {
            let count = (manifest.files[name]?.bytes ?? 0) / manifest.tokens.bytes
            return try map(name, elements: count, bytesEach: manifest.tokens.bytes)
        }
        self.manifest = manifest
        captions = try tokens(FileName.captions)
        text = try tokens(FileName.text)
        pairs = try map(FileName.pairs, elements: manifest.pairs, bytesEach: Self.pairBytes)
        // Training looks at the pairs in shuffled order, 24 bytes at a time.
        pairs.expectRandomReads()
        originals =
            manifest.files[FileName.originals] == nil
            ? nil : try map(FileName.originals, elements: manifest.pairs, bytesEach: Self.originalBytes)
        originals?.expectRandomReads()
        documents = try map(FileName.documents, elements: manifest.documents + 1, bytesEach: 8)
        images = try map(
            FileName.images, elements: manifest.images,
            bytesEach: manifest.image.elements * manifest.image.element.bytes)
        keyLines = try unstructured(FileName.keys)
        guard let file = Tokenizer.Form.allCases.map(\.fileName).first(where: { manifest.files[$0] != nil }) else {
            throw DataError(path, "the manifest names no tokenizer; the data set is damaged, build it again")
        }
        tokenizer = try Tokenizer(path: path + "/" + file)
        try checkTokenizer(tokenizer)
    }

    /// The copy of the autoencoder that made the latents; nil in a data set without one.
    public var autoencoderPath: String? {
        manifest.autoencoder == nil ? nil : Paths.join(path, FileName.autoencoder)
    }

    /// Why there is no data set at a path, and how one comes about, by what lies there.
    private static func absence(at path: String) -> String {
        guard Files.exists(path) else {
            return
                "is no data set, as nothing is there; 'tf-data import --out \(path)' makes one of pictures and texts, "
                + "'tf-data emoji --out \(path)' the one of the examples"
        }
        let problem = "is no data set (it has no \(DatasetManifest.fileName)); "
        if path.hasSuffix(".jsonl") { return problem + "make one of it with 'tf-data import --jsonl \(path)'" }
        return problem
            + (Files.exists(path + "/metadata.jsonl")
                ? "make one of it with 'tf-data import --folder \(path)'"
                : "make one elsewhere with 'tf-data import' (pictures and texts) or 'tf-data emoji' (the examples)")
    }

    /// Refuses a tokenizer that is not the one the data set was made with.
    public func checkTokenizer(_ tokenizer: Tokenizer) throws(DataError) {
        guard tokenizer.digest == manifest.tokens.tokenizer else {
            throw DataError(
                path,
                "was made with the tokenizer \(manifest.tokens.tokenizer.prefix(12))…, not \(tokenizer.digest.prefix(12))…;"
                    + " use the data set's own \(self.tokenizer.form.fileName) or import the data again")
        }
        guard tokenizer.vocabulary == manifest.tokens.vocabulary else {
            throw DataError(
                path,
                "says a vocabulary of \(manifest.tokens.vocabulary), its tokenizer has"
                    + " \(tokenizer.vocabulary)")
        }
    }

    public func split(_ name: String) throws(DataError) -> DatasetManifest.Split {
        guard let split = manifest.splits.first(where: { $0.name == name }) else {
            let names = manifest.splits.map(\.name).joined(separator: ", ")
            throw DataError(path, "has no split \"\(name)\"; it has \(names.isEmpty ? "none" : names)")
        }
        return split
    }

    public func pair(_ index: Int) throws(DataError) -> Pair {
        let start = index * Self.pairBytes
        guard (0..<manifest.pairs).contains(index),
            let captionStart: UInt64 = pairs.integer(at: start),
            let image: UInt64 = pairs.integer(at: start + 8),
            let captionCount: UInt32 = pairs.integer(at: start + 16),
            let link: UInt32 = pairs.integer(at: start + 20)
        else { throw DataError(pairs.path, "has no pair \(index)") }
        let total = UInt64(captions.bytes.count / manifest.tokens.bytes)
        guard captionStart <= total, UInt64(captionCount) <= total - captionStart, image < UInt64(manifest.images),
            link == Self.noLink || Int(link) < manifest.pairs
        else {
            throw DataError(pairs.path, "pair \(index) points outside the data; run 'tf-data verify \(path)'")
        }
        let original: UInt64 = originals?.integer(at: index * Self.originalBytes) ?? Self.noOriginal
        guard original == Self.noOriginal || original < UInt64(manifest.images) else {
            throw DataError(
                originals?.path ?? path, "pair \(index) points outside the images; run 'tf-data verify \(path)'")
        }
        return Pair(
            captionStart: Int(captionStart), captionCount: Int(captionCount), image: Int(image),
            variantOf: link == Self.noLink ? nil : Int(link),
            original: original == Self.noOriginal ? nil : Int(original))
    }

    /// The token ids of a pair's caption.
    public func caption(_ pair: Pair) throws(DataError) -> [Int32] {
        var ids: [Int32] = []
        try appendTokens(of: captions, pair.captionStart..<pair.captionStart + pair.captionCount, to: &ids)
        return ids
    }

    public func captionText(_ pair: Pair) throws(DataError) -> String {
        try tokenizer.decode(try caption(pair))
    }

    /// Appends the first `count` tokens of a pair's caption.
    func appendCaption(_ pair: Pair, prefix count: Int, to tokens: inout [Int32]) throws(DataError) {
        try appendTokens(of: captions, pair.captionStart..<pair.captionStart + count, to: &tokens)
    }

    /// Where a document's tokens begin in `text.tokens`; for `documents` itself, where the last one ends.
    func documentStart(_ document: Int) throws(DataError) -> Int {
        guard let start: UInt64 = documents.integer(at: document * 8),
            start <= UInt64(text.bytes.count / manifest.tokens.bytes)
        else {
            throw DataError(
                documents.path, "document \(document) points outside the text; run 'tf-data verify \(path)'")
        }
        return Int(start)
    }

    /// The token ids of a text document.
    public func document(_ index: Int) throws(DataError) -> [Int32] {
        guard (0..<manifest.documents).contains(index) else {
            throw DataError(documents.path, "has no document \(index)")
        }
        var ids: [Int32] = []
        try appendText(try documentStart(index)..<(try documentStart(index + 1)), to: &ids)
        return ids
    }

    func appendText(_ range: Range<Int>, to tokens: inout [Int32]) throws(DataError) {
        try appendTokens(of: text, range, to: &tokens)
    }

    /// An image as `[channels, height, width]`; pixels of type u8 are scaled to -1 … 1, codes are their numbers.
    public func image(_ index: Int) throws(DataError) -> [Float] {
        var values = [Float](repeating: 0, count: manifest.image.elements)
        try values.withUnsafeMutableBufferPointer { (buffer) throws(DataError) in try readImage(index, into: buffer) }
        return values
    }

    func readImage(_ index: Int, into values: UnsafeMutableBufferPointer<Float>) throws(DataError) {
        let elements = manifest.image.elements
        precondition(values.count == elements)
        guard (0..<manifest.images).contains(index) else { throw DataError(images.path, "has no image \(index)") }
        let bytes = UnsafeRawBufferPointer(
            rebasing: images.bytes[
                index * elements * manifest.image.element.bytes..<(index + 1) * elements
                    * manifest.image.element.bytes])
        switch manifest.image.element {
        case .u8:
            for i in 0..<elements { values[i] = Float(bytes[i]) * (2 / 255) - 1 }
        case .bf16:
            for i in 0..<elements {
                let bits = UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self))
                values[i] = Float(bitPattern: UInt32(bits) << 16)
            }
        case .f32:
            for i in 0..<elements {
                values[i] = Float(
                    bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)))
            }
        case .u16:
            let codes = manifest.image.codes ?? 0
            for i in 0..<elements {
                let code = Int(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self)))
                guard code < codes else {
                    throw DataError(
                        images.path, "image \(index) has the code \(code) of \(codes); run 'tf-data verify \(path)'")
                }
                values[i] = Float(code)
            }
        }
    }

    /// What the pairs are called in their source, one line each, in the order of the pairs.
    public func keys() throws(DataError) -> [String] {
        let text = String(decoding: keyLines.bytes, as: UTF8.self)
        let keys = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
        guard keys.count == manifest.pairs else {
            throw DataError(keyLines.path, "has \(keys.count) lines for \(manifest.pairs) pairs")
        }
        return keys
    }

    /// Takes what was read so far out of this process's memory, which would grow by it from batch to batch.
    func forgetPages() {
        for file in [captions, text, pairs, documents, images, originals].compactMap(\.self) { file.forgetPages() }
    }

    private func appendTokens(
        of file: MappedFile, _ range: Range<Int>, to tokens: inout [Int32]
    ) throws(DataError) {
        let vocabulary = UInt32(manifest.tokens.vocabulary)
        tokens.reserveCapacity(tokens.count + range.count)
        for position in range {
            let token: UInt32? =
                manifest.tokens.bytes == 2
                ? file.integer(at: position * 2, as: UInt16.self).map(UInt32.init) : file.integer(at: position * 4)
            guard let token, token < vocabulary else {
                throw DataError(file.path, "token \(position) is outside the vocabulary; run 'tf-data verify \(path)'")
            }
            tokens.append(Int32(token))
        }
    }

    private static func checkShape(_ manifest: DatasetManifest, _ path: String) throws(DataError) {
        func require(_ holds: Bool, _ problem: String) throws(DataError) {
            guard holds else { throw DataError(path + "/" + DatasetManifest.fileName, problem) }
        }
        try require(
            manifest.version == manifest.ownVersion
                && (manifest.files[FileName.originals] != nil) == manifest.hasEdits,
            "its format version, its splits and its files do not agree on whether there are edits")
        let image = manifest.image
        let sides = [image.channels, image.height, image.width]
        try require(sides.allSatisfy { (1...65536).contains($0) }, "an image of \(sides) is impossible")
        let codes = image.codes
        try require(
            (image.element == .u16) == (codes != nil) && (codes == nil || image.channels == 1),
            "what it says of its images does not agree on whether they are codes")
        try require(
            (2...DatasetManifest.mostCodes).contains(codes ?? 2), "a codebook of \(codes ?? 0) codes is impossible")
        try require([2, 4].contains(manifest.tokens.bytes), "a token of \(manifest.tokens.bytes) bytes is impossible")
        try require(
            (4...Int(Int32.max)).contains(manifest.tokens.vocabulary),
            "a vocabulary of \(manifest.tokens.vocabulary) is impossible")
        let limit = Int.max / 1024
        for (name, count) in [
            ("images", manifest.images), ("pairs", manifest.pairs), ("documents", manifest.documents),
        ] {
            try require((0..<limit).contains(count), "\(name): a count of \(count) is impossible")
        }
        for (name, file) in manifest.files {
            try require((0..<limit).contains(file.bytes), "\(name): a size of \(file.bytes) bytes is impossible")
        }
        for split in manifest.splits {
            try require(
                (0...max(0, split.pairs)).contains(split.edits ?? 0),
                "the split \"\(split.name)\" has \(split.edits ?? 0) edits among \(split.pairs) pairs")
            let tokens = [split.captionTokens, split.longestCaption, split.textTokens]
            try require(
                tokens.allSatisfy { (0..<limit).contains($0) },
                "the split \"\(split.name)\" has impossible token counts")
            let runs = [
                (split.firstPair, split.pairs, manifest.pairs),
                (split.firstDocument, split.documents, manifest.documents),
            ]
            try require(
                runs.allSatisfy { first, count, total in
                    first >= 0 && count >= 0 && first <= total && count <= total - first
                }, "the split \"\(split.name)\" leaves the data")
        }
    }
}
