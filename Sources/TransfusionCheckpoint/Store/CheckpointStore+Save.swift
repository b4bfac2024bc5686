internal import Glibc
public import TransfusionCore
internal import TransfusionSupport

/// A checkpoint that is safely on disk.
public struct SavedCheckpoint: Sendable, Equatable, Codable {
    public let step: Int
    public let path: String
    /// Bytes of all shard files.
    public let storedBytes: Int
    /// Bytes of all tensors.
    public let tensorBytes: Int
}

extension CheckpointStore {
    /// Writes a checkpoint; every rank calls it with its own pieces, which together hold each element of each tensor
    /// once.
    ///
    /// Replicated tensors are brought by one rank. After an error, which all ranks get, what was there before is still
    /// there, and training can go on.
    @discardableResult
    public func save(
        step: Int, metadata: CheckpointMetadata, pieces: [ShardPiece], collectives: any Collectives = SingleRank()
    ) throws -> SavedCheckpoint {
        try begin(step: step, collectives)
        let outcome = Result { try writeShard(step: step, rank: collectives.rank, pieces) }
        return try commit(step: step, metadata: metadata, outcome, collectives)
    }

    /// Makes the directory that the ranks write into.
    func begin(step: Int, _ collectives: any Collectives) throws {
        try agree(collectives) {
            if options.makesParents {
                try fileSystem.createDirectories(directory)
            } else {
                try fileSystem.createDirectoryIfMissing(directory)
            }
            try healReplacements()
            for name in try fileSystem.list(directory) where name.hasPrefix("step-") && name.hasSuffix(".partial") {
                try fileSystem.removeTree(Paths.join(directory, name))
            }
            try fileSystem.createDirectory(path(step, ".partial"))
        }
    }

    /// Writes the pieces of a rank.
    func writeShard(step: Int, rank: Int, _ pieces: [ShardPiece]) throws -> [ShardTable] {
        let pieces = pieces.filter { $0.box.count > 0 }
        let boxes = pieces.map(\.box)
        let chunks = ShardWriter.chunks(of: boxes, chunkBytes: options.chunkBytes)
        return try writeShard(step: step, rank: rank, boxes, chunks) { index in
            try pieces[chunks[index].piece].bytes(chunks[index].range)
        }
    }

    /// Writes this rank's chunks. It makes no collective calls and may run on any thread.
    func writeShard(
        step: Int, rank: Int, _ boxes: [TensorBox], _ chunks: [ShardWriter.Chunk],
        source: @escaping @Sendable (Int) throws -> ShardWriter.Payload
    ) throws -> [ShardTable] {
        guard !chunks.isEmpty else { return [] }
        let digits = String(rank)
        let file = "rank-" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits + ".shard"
        let directory = path(step, ".partial")
        do {
            let writer = ShardWriter(fileSystem: fileSystem, options: options)
            return [try writer.write(boxes, chunks, to: directory, file: file, source: source)]
        } catch  where !(error is CheckpointError || error is FileSystemError) {
            throw CheckpointError(Paths.join(directory, file), "cannot be written: \(error)")
        }
    }

    /// Proves that the shards are complete, writes the manifest and gives the directory its final name.
    func commit(
        step: Int, metadata: CheckpointMetadata, _ outcome: Result<[ShardTable], any Error>,
        _ collectives: any Collectives
    ) throws -> SavedCheckpoint {
        let tables = try gather(collectives) { try outcome.get() }
        return try broadcast(collectives) {
            let partial = path(step, ".partial")
            do {
                let manifest = try self.manifest(step, metadata, try tables.get().flatMap { $0 })
                try fileSystem.write(try manifest.encoded(), to: Paths.join(partial, Manifest.fileName))
                try fileSystem.synchronize(directory: partial)
                try publish(step)
                return SavedCheckpoint(
                    step: step, path: path(step), storedBytes: manifest.files.values.reduce(0, +),
                    tensorBytes: manifest.tensorBytes)
            } catch {
                try? fileSystem.removeTree(partial)
                try? healReplacements()
                throw error
            }
        }
    }

    private func manifest(
        _ step: Int, _ metadata: CheckpointMetadata, _ tables: [ShardTable]
    ) throws -> Manifest {
        var manifest = Manifest(
            step: step, created: time(nil), chunkBytes: options.chunkBytes, metadata: metadata, files: [:], tensors: [:]
        )
        let path = path(step, ".partial")
        for table in tables {
            manifest.files[table.file] = table.bytes
            for entry in table.entries {
                let new = StoredTensor(type: entry.type, shape: entry.shape, boxes: [])
                guard manifest.tensors[entry.name, default: new].shape == entry.shape,
                    manifest.tensors[entry.name, default: new].type == entry.type
                else { throw CheckpointError(path, "tensor \(entry.name) has another shape or type in \(table.file)") }
                manifest.tensors[entry.name, default: new].boxes.append(entry.box)
            }
        }
        manifest.encryption = try options.encryptionKey().map {
            Manifest.Encryption(cipher: EncryptionKey.cipher, keyCheck: $0.check)
        }
        try manifest.validate(path)
        return manifest
    }

    private func publish(_ step: Int) throws {
        let final = path(step)
        let replaces = fileSystem.exists(Self.name(step), in: directory)
        if replaces { try fileSystem.rename(final, to: path(step, ".replaced")) }
        try fileSystem.rename(path(step, ".partial"), to: final)
        try fileSystem.synchronize(directory: directory)
        if replaces { try? fileSystem.removeTree(path(step, ".replaced")) }
    }
}
