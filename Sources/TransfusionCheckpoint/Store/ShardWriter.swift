internal import TransfusionCore

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

    private enum Payload: @unchecked Sendable {
        // The memory of a piece is read only, and outlives the save (see `ShardPiece`).
        case memory(UnsafeRawBufferPointer)
        case bytes([UInt8])
    }

    static func chunks(of pieces: [ShardPiece], chunkBytes: Int) -> [Chunk] {
        pieces.indices.flatMap { piece in
            let count = pieces[piece].box.byteCount
            return stride(from: 0, to: count, by: chunkBytes).map {
                Chunk(piece: piece, range: $0..<min($0 + chunkBytes, count))
            }
        }
    }

    /// - Parameter released: Called after each chunk with the number of chunks whose source is no longer needed.
    func write(
        _ pieces: [ShardPiece], to directory: String, file name: String, released: (Int) -> Void = { _ in }
    ) throws -> ShardTable {
        let path = Path.join(directory, name)
        let chunks = Self.chunks(of: pieces, chunkBytes: options.chunkBytes)
        let file = try fileSystem.create(path)
        var table = ShardTable(file: name, bytes: 0, entries: [])
        let options = options
        try Pipeline.run(count: chunks.count, threads: options.threads) { index in
            try Self.encode(chunks[index], of: pieces[chunks[index].piece], options)
        } consume: { index, encoded in
            let chunk = chunks[index]
            switch encoded.payload {
            case .memory(let memory): try file.appendAll(memory)
            case .bytes(let bytes): try bytes.withUnsafeBytes { try file.appendAll($0) }
            }
            if chunk.range.lowerBound == 0 {
                table.entries.append(Self.entry(for: pieces[chunk.piece].box, file: name, offset: table.bytes))
            }
            table.entries[table.entries.count - 1].box.chunks.append(encoded.stored)
            table.bytes += encoded.stored.bytes
            released(index + 1)
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
        _ chunk: Chunk, of piece: ShardPiece, _ options: CheckpointOptions
    ) throws -> (payload: Payload, stored: StoredChunk) {
        var payload: Payload
        switch piece.contents {
        case .memory(let memory):
            payload = .memory(UnsafeRawBufferPointer(rebasing: memory[chunk.range]))
        case .computed(let fill):
            payload = .bytes(
                try [UInt8](unsafeUninitializedCapacity: chunk.range.count) { buffer, count in
                    try fill(chunk.range, UnsafeMutableRawBufferPointer(buffer))
                    count = chunk.range.count
                })
        }
        func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
            switch payload {
            case .memory(let memory): try body(memory)
            case .bytes(let bytes): try bytes.withUnsafeBytes(body)
            }
        }
        var encoding = ChunkEncoding.raw
        if let packed = try withBytes({
            try ChunkCodec.encode($0, type: piece.box.type, level: options.compressionLevel)
        }) {
            encoding = packed.encoding
            payload = .bytes(packed.bytes)
        }
        let stored = withBytes {
            StoredChunk(encoding: encoding, bytes: $0.count, sha256: SHA256.hexDigest($0))
        }
        return (payload, stored)
    }
}
