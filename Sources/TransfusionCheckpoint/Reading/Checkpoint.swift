internal import TransfusionCore
internal import TransfusionSupport

/// An open checkpoint: its description, and its tensors by name, each readable in any cut.
public struct Checkpoint: Sendable {
    /// The checkpoint's directory.
    public let path: String
    let manifest: Manifest
    let options: CheckpointOptions
    let fileSystem: any FileSystem
    /// The shard files by name, when they are held open.
    private(set) var held: [String: any ReadableFile] = [:]

    init(_ path: String, options: CheckpointOptions, fileSystem: any FileSystem) throws {
        self.path = path
        self.options = options
        self.fileSystem = fileSystem
        manifest = try Manifest(readingFrom: path, fileSystem)
    }

    /// Opens a checkpoint directory.
    public init(_ path: String, options: CheckpointOptions = CheckpointOptions()) throws {
        try self.init(path, options: options, fileSystem: POSIXFileSystem())
    }

    /// The same with its files open, so that it can be read to its end even if retention removes it meanwhile.
    func holdingFiles() throws -> Checkpoint {
        var checkpoint = self
        checkpoint.held = try openFiles(manifest.files.keys)
        return checkpoint
    }

    public var step: Int { manifest.step }
    public var metadata: CheckpointMetadata { manifest.metadata }
    /// Seconds since 1970 when its save began.
    public var created: Int { manifest.created }
    /// The transfusion that wrote it; nil before 0.3.
    public var program: String? { manifest.program }
    /// The format version of its manifest.
    public var formatVersion: Int { manifest.version }
    /// Bytes of all shard files.
    public var storedBytes: Int { manifest.files.values.reduce(0, +) }
    /// Bytes of all tensors.
    public var tensorBytes: Int { manifest.tensorBytes }
    /// Its shard files and their sizes.
    public var files: [String: Int] { manifest.files }

    /// The tensors by name, each as the box that is the whole of it.
    public var tensors: [String: TensorBox] {
        Dictionary(
            uniqueKeysWithValues: manifest.tensors.map {
                ($0.key, TensorBox(name: $0.key, type: $0.value.type, shape: $0.value.shape))
            })
    }

    /// The whole of the tensor `name`, as a box.
    /// - Throws: `CheckpointError` when there is none.
    public func tensor(_ name: String) throws -> TensorBox {
        guard let tensor = manifest.tensors[name] else { throw CheckpointError(path, "has no tensor \(name)") }
        return TensorBox(name: name, type: tensor.type, shape: tensor.shape)
    }

    /// Refuses a checkpoint that does not hold exactly the expected tensors in the expected shapes.
    /// - Parameters:
    ///   - expected: The shape of each tensor.
    ///   - matching: Which of the checkpoint's tensors are looked at; the others are of no concern to the caller.
    public func require(_ expected: [String: [Int]], where matching: (String) -> Bool = { _ in true }) throws {
        func some(_ names: [String]) -> String {
            names.sorted().prefix(3).joined(separator: ", ") + (names.count > 3 ? " and \(names.count - 3) more" : "")
        }
        let missing = expected.keys.filter { manifest.tensors[$0] == nil }
        if !missing.isEmpty { throw CheckpointError(path, "has no tensor \(some(missing))") }
        let unknown = manifest.tensors.keys.filter { matching($0) && expected[$0] == nil }
        if !unknown.isEmpty { throw CheckpointError(path, "has unknown tensors: \(some(unknown))") }
        for (name, shape) in expected.sorted(by: { $0.key < $1.key }) {
            guard let found = manifest.tensors[name]?.shape, found != shape else { continue }
            throw CheckpointError(path, "tensor \(name) has the shape \(found), not the expected \(shape)")
        }
    }
}

/// A box that is wanted, and the memory for it.
///
/// `@unchecked Sendable`: threads write disjoint parts of `memory`, and who asks leaves it alone until `read` returns.
public struct ReadRequest: @unchecked Sendable {
    public let box: TensorBox
    public let memory: UnsafeMutableRawBufferPointer

    public init(_ box: TensorBox, into memory: UnsafeMutableRawBufferPointer) {
        precondition(memory.count == box.byteCount, "\(box.name): \(memory.count) bytes for a box of \(box.byteCount)")
        self.box = box
        self.memory = memory
    }
}

extension Checkpoint {
    /// Fills the memory of each request with the wanted box, whatever boxes the checkpoint was saved in.
    ///
    /// Only the chunks that hold wanted elements are read, each once, verified before use. Memory in use beside the
    /// requests is a few chunks.
    public func read(_ requests: [ReadRequest]) throws {
        let reads = try ReadPlan(requests, manifest, path).chunks
        let key = try decryptionKey()
        let files = try openFiles(Set(reads.map(\.chunk.file)))
        try Pipeline.run(count: reads.count, threads: options.threads) { index in
            let read = reads[index]
            guard let file = files[read.chunk.file] else { return }
            if key == nil, read.chunk.stored.encoding == .raw, read.copies.count == 1,
                let place = read.copies[0].wholeTarget(of: read.chunk.rawRange)
            {
                let memory = requests[read.copies[0].request].memory[place]
                return try fill(UnsafeMutableRawBufferPointer(rebasing: memory), from: read.chunk, file)
            }
            try withRawChunk(read.chunk, file, key) { raw in
                for copy in read.copies {
                    copy.run(from: raw, at: read.chunk.rawRange.lowerBound, to: requests[copy.request].memory)
                }
            }
        } consume: { _, _ in
        }
    }

    /// Reads one box.
    public func read(_ box: TensorBox, into memory: UnsafeMutableRawBufferPointer) throws {
        try read([ReadRequest(box, into: memory)])
    }

    func openFiles(_ names: some Sequence<String>) throws -> [String: any ReadableFile] {
        var files: [String: any ReadableFile] = [:]
        for name in names {
            if let file = held[name] {
                files[name] = file
                continue
            }
            let path = Paths.join(path, name)
            let file = try fileSystem.open(path)
            let expected = manifest.files[name] ?? 0
            guard file.byteCount == expected else {
                throw CheckpointError(path, "has \(file.byteCount) bytes; the manifest says \(expected)")
            }
            files[name] = file
        }
        return files
    }

    /// Reads, verifies and unpacks a chunk.
    private func withRawChunk(
        _ chunk: ChunkPlace, _ file: any ReadableFile, _ key: EncryptionKey?, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws {
        try withStoredChunk(chunk, file) { stored in
            guard let key else { return try unpack(stored, chunk, body) }
            let opened: [UInt8]
            do {
                opened = try key.open(stored, place: chunk.name)
            } catch {
                throw chunk.error(in: path, "\(error)")
            }
            try opened.withUnsafeBytes { try unpack($0, chunk, body) }
        }
    }

    /// The key of an encrypted checkpoint; `nil` when it is in the clear.
    private func decryptionKey() throws -> EncryptionKey? {
        guard let encryption = manifest.encryption else { return nil }
        guard let key = try options.encryptionKey() else {
            throw CheckpointError(
                path,
                "is encrypted; name the file with its key in TRANSFUSION_KEY_FILE, or for a run in "
                    + "checkpoint.encryption_key_file", reason: .key)
        }
        guard key.check == encryption.keyCheck else {
            throw CheckpointError(
                path, "is encrypted with another key than the one in \(options.keyFile ?? "")", reason: .key)
        }
        return key
    }

    private func unpack(
        _ stored: UnsafeRawBufferPointer, _ chunk: ChunkPlace, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws {
        if chunk.stored.encoding == .raw, stored.count == chunk.rawRange.count { return body(stored) }
        let raw = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk.rawRange.count, alignment: 64)
        defer { raw.deallocate() }
        do {
            try ChunkCodec.decode(stored, chunk.stored.encoding, type: chunk.type, into: raw)
        } catch {
            throw chunk.error(in: path, "\(error)")
        }
        body(UnsafeRawBufferPointer(raw))
    }

    func withStoredChunk(
        _ chunk: ChunkPlace, _ file: any ReadableFile, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let stored = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk.stored.bytes, alignment: 64)
        defer { stored.deallocate() }
        try fill(stored, from: chunk, file)
        try body(UnsafeRawBufferPointer(stored))
    }

    /// Reads a chunk as it is stored, and verifies it.
    private func fill(
        _ memory: UnsafeMutableRawBufferPointer, from chunk: ChunkPlace, _ file: any ReadableFile
    ) throws {
        guard memory.count == chunk.stored.bytes else {
            throw chunk.error(in: path, "has \(chunk.stored.bytes) bytes instead of \(memory.count)")
        }
        try file.readAll(memory, at: chunk.fileOffset, path: Paths.join(path, chunk.file))
        guard SHA256.hexDigest(UnsafeRawBufferPointer(memory)) == chunk.stored.sha256 else {
            throw chunk.error(in: path, "does not match its SHA-256")
        }
    }
}

/// A chunk and where it lies.
struct ChunkPlace: Sendable {
    let tensor: String
    let type: ElementType
    /// What the chunk is, for encryption.
    let name: String
    let file: String
    let fileOffset: Int
    /// The number of the chunk in its box.
    let index: Int
    /// Which bytes of the box it holds.
    let rawRange: Range<Int>
    let stored: StoredChunk

    func error(in directory: String, _ problem: String) -> CheckpointError {
        CheckpointError(Paths.join(directory, file), "chunk \(index) of \(tensor) \(problem)")
    }

    static func name(of box: TensorBox, index: Int) -> String { name(of: box.name, box.offsets, index) }

    private static func name(of tensor: String, _ offsets: [Int], _ index: Int) -> String {
        "\(tensor) \(offsets.map(String.init).joined(separator: ",")) \(index)"
    }

    /// The chunks of a stored box, in order.
    static func all(of box: StoredBox, tensor: String, type: ElementType, chunkBytes: Int) -> [ChunkPlace] {
        let byteCount = box.sizes.reduce(1, *) * type.byteCount
        var fileOffset = box.offset
        return box.chunks.enumerated().map { index, stored in
            defer { fileOffset += stored.bytes }
            let start = index * chunkBytes
            return ChunkPlace(
                tensor: tensor, type: type, name: name(of: tensor, box.offsets, index), file: box.file,
                fileOffset: fileOffset, index: index,
                rawRange: start..<min(start + chunkBytes, byteCount), stored: stored)
        }
    }
}

extension Manifest {
    var tensorBytes: Int {
        tensors.values.reduce(0) { $0 + $1.shape.reduce(1, *) * $1.type.byteCount }
    }
}
