internal import TransfusionCore

/// Builds a packed data set.
public final class DatasetWriter {
    private let directory: UnfinishedDirectory
    private let tokenizer: Tokenizer
    private var manifest: DatasetManifest
    private var sinks: [String: FileSink] = [:]
    private var captionTokens = 0
    private var textTokens = 0
    /// The images by the digest of their contents, of which so much tells any two apart.
    private var imageNumbers: [UInt128: Int] = [:]
    /// These digests in the order of the images, where the work may be gone on with.
    private var digests: FileSink?

    /// How far images and texts are written: what another writer needs to go on.
    struct State: Codable, Equatable {
        var splits: [DatasetManifest.Split] = []
        var images = 0
        var documents = 0
        var textTokens = 0
        /// Bytes of the files.
        var lengths: [String: Int] = [:]
    }

    /// The files that `State` is about.
    private static let continued = [
        PackedDataset.FileName.images, PackedDataset.FileName.text, PackedDataset.FileName.documents,
    ]
    private static let digestFile = "image-digests" + UnfinishedDirectory.temporary

    /// Goes on where another writer was: images and texts of `state` are there, pairs are not.
    convenience init(
        continuing state: State, in directory: UnfinishedDirectory, image: DatasetManifest.ImageShape,
        tokenizer: Tokenizer, description: String
    ) throws(DataError) {
        try self.init(directory, image: image, tokenizer: tokenizer, description: description, state)
        let digests = try FileSink(
            directory.file(Self.digestFile), continuingAt: state.lengths[Self.digestFile] ?? 0)
        self.digests = digests
        manifest.splits = state.splits
        manifest.images = state.images
        manifest.documents = state.documents
        textTokens = state.textTokens
        guard digests.count == 16 * state.images else {
            throw DataError(digests.path, "is damaged; remove its directory to begin anew")
        }
        let file = try MappedFile(digests.path, expectedBytes: digests.count)
        imageNumbers.reserveCapacity(state.images)
        for number in 0..<state.images {
            if let digest: UInt128 = file.integer(at: 16 * number) { imageNumbers[digest] = number }
        }
    }

    /// Brings images and texts to the disk.
    func commit() throws(DataError) -> State {
        var state = State(
            splits: manifest.splits, images: manifest.images, documents: manifest.documents, textTokens: textTokens)
        for name in Self.continued {
            try sink(name).commit()
            state.lengths[name] = sink(name).count
        }
        if let digests {
            try digests.commit()
            state.lengths[Self.digestFile] = digests.count
        }
        return state
    }

    /// - Parameter directory: Where it is built; an empty one.
    public convenience init(
        _ directory: UnfinishedDirectory, image: DatasetManifest.ImageShape, tokenizer: Tokenizer,
        description: String
    ) throws(DataError) {
        try self.init(directory, image: image, tokenizer: tokenizer, description: description, State())
    }

    private init(
        _ directory: UnfinishedDirectory, image: DatasetManifest.ImageShape, tokenizer: Tokenizer,
        description: String, _ state: State
    ) throws(DataError) {
        self.directory = directory
        self.tokenizer = tokenizer
        manifest = DatasetManifest(
            description: description, image: image,
            tokens: DatasetManifest.Tokens(
                bytes: Self.tokenBytes(of: tokenizer), vocabulary: tokenizer.vocabulary,
                beginOfText: tokenizer.beginOfText, endOfText: tokenizer.endOfText,
                beginOfImage: tokenizer.beginOfImage, endOfImage: tokenizer.endOfImage, tokenizer: tokenizer.digest))
        for name in PackedDataset.FileName.all + [tokenizer.form.fileName] {
            sinks[name] = try FileSink(directory.file(name), continuingAt: state.lengths[name] ?? 0)
        }
        if sink(PackedDataset.FileName.documents).count == 0 {
            try sink(PackedDataset.FileName.documents).write(UInt64(0))
        }
    }

    /// Nothing is overwritten: what exists has to be removed by its owner.
    public static func refuseExisting(_ path: String) throws(DataError) {
        guard !Files.isTaken(path) else {
            throw DataError(wrongUse: "\(path): exists already; remove it or give another --out")
        }
    }

    /// Whatever is added from now on belongs to a new split.
    public func beginSplit(_ name: String) {
        precondition(!manifest.splits.contains { $0.name == name }, "the split \(name) was begun before")
        manifest.splits.append(
            DatasetManifest.Split(name: name, firstPair: manifest.pairs, firstDocument: manifest.documents))
    }

    var currentSplit: String? { manifest.splits.last?.name }

    var imageCount: Int { manifest.images }

    var isCurrentSplitEmpty: Bool { manifest.splits.last.map { $0.pairs + $0.documents == 0 } ?? true }

    /// A further file that goes with the data set, such as a picture for people.
    func add(file name: String, contents: [UInt8]) throws(DataError) {
        precondition(sinks[name] == nil)
        let sink = try FileSink(directory.file(name))
        try sink.write(contents)
        sinks[name] = sink
    }

    /// Stores an image, unless the same one is there.
    /// - Parameter image: `[channels, height, width]` in the manifest's element type.
    /// - Returns: The image's index, for the pairs that show it.
    public func add(image: [UInt8]) throws(DataError) -> Int {
        precondition(image.count == manifest.image.elements * manifest.image.element.bytes)
        let digest = image.withUnsafeBytes { SHA256.shortDigest($0) }
        if let number = imageNumbers[digest] { return number }
        try sink(PackedDataset.FileName.images).write(image)
        try digests?.write(digest)
        imageNumbers[digest] = manifest.images
        manifest.images += 1
        return manifest.images - 1
    }

    /// - Parameters:
    ///   - key: What the pair is called in its source.
    ///   - variantOf: The index of the pair that this one is a variant of.
    ///   - original: The image that the caption, an instruction, changes into `image`; nil for a pair that is no edit.
    /// - Returns: The pair's index.
    @discardableResult
    public func addPair(
        key: String, caption: String, image: Int, variantOf: Int? = nil, original: Int? = nil
    ) throws(DataError) -> Int {
        let ids = try tokenizer.encode(caption)
        guard ids.count < UInt32.max, manifest.pairs < PackedDataset.noLink else {
            throw DataError(directory.place, "too many pairs or too long a caption for the format")
        }
        try sink(PackedDataset.FileName.captions).write(stored(ids))
        let index = sink(PackedDataset.FileName.pairs)
        try index.write(UInt64(captionTokens))
        try index.write(UInt64(image))
        try index.write(UInt32(ids.count))
        try index.write(variantOf.map { UInt32($0) } ?? PackedDataset.noLink)
        try write(original: original)
        let line = String(key.map { $0.isNewline ? " " : $0 }) + "\n"
        try sink(PackedDataset.FileName.keys).write([UInt8](line.utf8))
        captionTokens += ids.count
        updateSplit { split in
            split.pairs += 1
            split.captionTokens += ids.count
            split.longestCaption = max(split.longestCaption, ids.count)
            if original != nil { split.edits = (split.edits ?? 0) + 1 }
        }
        manifest.pairs += 1
        return manifest.pairs - 1
    }

    /// The file begins with the first edit; the pairs before have none.
    private func write(original: Int?) throws(DataError) {
        let name = PackedDataset.FileName.originals
        if sinks[name] == nil {
            guard original != nil else { return }
            let file = try FileSink(directory.file(name))
            for _ in 0..<manifest.pairs { try file.write(PackedDataset.noOriginal) }
            sinks[name] = file
        }
        try sink(name).write(original.map { UInt64($0) } ?? PackedDataset.noOriginal)
    }

    public func addDocument(_ text: String) throws(DataError) {
        try addDocument(stored: stored(try tokenizer.encode(text)))
    }

    /// - Parameter tokens: As `stored` gives them.
    func addDocument(stored tokens: [UInt8]) throws(DataError) {
        let count = tokens.count / manifest.tokens.bytes
        guard count > 0 else { return }
        try sink(PackedDataset.FileName.text).write(tokens)
        textTokens += count
        try sink(PackedDataset.FileName.documents).write(UInt64(textTokens))
        updateSplit { split in
            split.documents += 1
            split.textTokens += count
        }
        manifest.documents += 1
    }

    /// Closes all files, computes their digests and puts the data set in its place.
    public func finish(
        progress: (_ phase: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
    ) throws(DataError) -> DatasetManifest {
        try sink(tokenizer.form.fileName).write(tokenizer.contents)
        let total = sinks.values.reduce(0) { $0 + $1.count } >> 20
        var done = 0
        for (name, sink) in sinks {
            try sink.close()
            let file = try MappedFile(directory.file(name), expectedBytes: sink.count)
            let digest = file.digest { progress("computing digests, MiB", (done + $0) >> 20, total) }
            manifest.files[name] = DatasetManifest.File(bytes: sink.count, sha256: digest)
            done += sink.count
        }
        manifest.splits.removeAll { $0.pairs == 0 && $0.documents == 0 }
        let (sealed, bytes) = try manifest.sealed()
        let sink = try FileSink(directory.file(DatasetManifest.fileName))
        try sink.write(bytes)
        try sink.close()
        try directory.finish()
        return sealed
    }

    private func sink(_ name: String) -> FileSink {
        guard let sink = sinks[name] else { preconditionFailure("no file \(name)") }
        return sink
    }

    private func updateSplit(_ change: (inout DatasetManifest.Split) -> Void) {
        precondition(!manifest.splits.isEmpty, "begin a split before adding to it")
        change(&manifest.splits[manifest.splits.count - 1])
    }

    /// How many bytes an id takes.
    static func tokenBytes(of tokenizer: Tokenizer) -> Int { tokenizer.vocabulary <= 65536 ? 2 : 4 }

    /// Ids as they lie in the files.
    func stored(_ ids: [Int32]) -> [UInt8] { Self.stored(ids, bytes: manifest.tokens.bytes) }

    static func stored(_ ids: [Int32], bytes size: Int) -> [UInt8] {
        func bytes<Integer: FixedWidthInteger>(_ type: Integer.Type) -> [UInt8] {
            let size = MemoryLayout<Integer>.size
            return [UInt8](unsafeUninitializedCapacity: size * ids.count) { buffer, count in
                let bytes = UnsafeMutableRawBufferPointer(buffer)
                for (place, id) in ids.enumerated() {
                    bytes.storeBytes(
                        of: Integer(truncatingIfNeeded: id).littleEndian, toByteOffset: size * place, as: Integer.self)
                }
                count = size * ids.count
            }
        }
        return size == 2 ? bytes(UInt16.self) : bytes(UInt32.self)
    }
}
