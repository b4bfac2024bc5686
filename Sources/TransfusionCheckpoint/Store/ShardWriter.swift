internal import TransfusionCore
internal import TransfusionSupport

/// What one rank has written: part of the manifest to be.
struct ShardTable: Codable, Sendable {
    var file: String
    var bytes: Int
    var entries: [Entry]

    struct Entry: Codable, Sendable {
        var name: String
        var type: ElementType
        var shape: [Int]
        var box: StoredBox
    }
}

/// Writes pieces into one shard file, chunk after chunk: threads fill, pack and hash while the file grows in order.
struct ShardWriter {
    var fileSystem: any FileSystem
    var options: CheckpointOptions

    /// A part of a piece that becomes one chunk.
    struct Chunk: Sendable {
        let piece: Int
        let range: Range<Int>
    }

    /// The contents of a chunk.
    ///
    /// `@unchecked Sendable`: the memory is only read, and outlives the save (see `ShardPiece`).
    enum Payload: @unchecked Sendable {
        case memory(UnsafeRawBufferPointer)
        case bytes([UInt8])

        func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
            switch self {
            case .memory(let memory): try body(memory)
            case .bytes(let bytes): try bytes.withUnsafeBytes(body)
            }
        }
    }

    static func chunks(of boxes: [TensorBox], chunkBytes: Int) -> [Chunk] {
        boxes.indices.flatMap { piece in
            let count = boxes[piece].byteCount
            return stride(from: 0, to: count, by: chunkBytes).map {
                Chunk(piece: piece, range: $0..<min($0 + chunkBytes, count))
            }
        }
    }

    /// - Parameters:
    ///   - source: Gives the contents of the chunk with a number; called from several threads, each number once.
    func write(
        _ boxes: [TensorBox], _ chunks: [Chunk], to directory: String, file name: String,
        source: @escaping @Sendable (Int) throws -> Payload
    ) throws -> ShardTable {
        let file = try fileSystem.create(Paths.join(directory, name))
        var table = ShardTable(file: name, bytes: 0, entries: [])
        let level = options.compressionLevel
        let key = try options.encryptionKey()
        let chunkBytes = options.chunkBytes
        // Chunks that stay as they are take no memory of their own: many may wait, so that the disk has some to go on
        // with while large ones are hashed.
        let ahead = level == nil && key == nil ? 16 : 2
        try Pipeline.run(count: chunks.count, threads: options.threads, ahead: ahead) { index in
            let box = boxes[chunks[index].piece]
            let place = ChunkPlace.name(of: box, index: chunks[index].range.lowerBound / chunkBytes)
            return try Self.encode(try source(index), type: box.type, level: level, key: key, place: place)
        } consume: { index, encoded in
            try encoded.payload.withBytes { try file.appendAll($0) }
            if chunks[index].range.lowerBound == 0 {
                table.entries.append(Self.entry(for: boxes[chunks[index].piece], file: name, offset: table.bytes))
            }
            table.entries[table.entries.count - 1].box.chunks.append(encoded.stored)
            table.bytes += encoded.stored.bytes
        }
        try file.synchronize()
        try file.close()
        return table
    }

    private static func entry(for box: TensorBox, file: String, offset: Int) -> ShardTable.Entry {
        ShardTable.Entry(
            name: box.name, type: box.type, shape: box.globalShape,
            box: StoredBox(offsets: box.offsets, sizes: box.sizes, file: file, offset: offset, chunks: []))
    }

    private static func encode(
        _ payload: Payload, type: ElementType, level: Int?, key: EncryptionKey?, place: String
    ) throws -> (payload: Payload, stored: StoredChunk) {
        let packed = try payload.withBytes { try ChunkCodec.encode($0, type: type, level: level) }
        var payload = packed.map { Payload.bytes($0.bytes) } ?? payload
        if let key { payload = .bytes(try payload.withBytes { try key.seal($0, place: place) }) }
        let stored = payload.withBytes {
            StoredChunk(encoding: packed?.encoding ?? .raw, bytes: $0.count, sha256: SHA256.hexDigest($0))
        }
        return (payload, stored)
    }
}
