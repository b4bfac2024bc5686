internal import TransfusionSupport

/// A tensor on its way into a GGUF file.
struct GGUFTensor {
    let name: String
    let type: GGUFType
    /// Of elements of `type.element`.
    let source: SourceTensor

    var byteCount: Int { type.byteCount(source.shape.reduce(1, *)) }
}

/// Writes GGUF files. Equal contents give equal files.
///
/// ### References
/// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, version 3
struct GGUFWriter {
    private let fileSystem = POSIXFileSystem()

    private static let version: UInt32 = 3
    private static let alignment = 32
    /// A multiple of the alignment and of a block's elements.
    private static let pieceBytes = 4 << 20

    /// Writes one file, which appears under its name only when it is complete.
    func write(_ metadata: [(key: String, value: GGUFValue)], _ tensors: [GGUFTensor], to path: String) throws {
        let temporary = path + ".partial"
        try? fileSystem.removeFile(temporary)
        do {
            let file = try fileSystem.create(temporary)
            try Self.header(metadata, tensors).withUnsafeBytes { try file.appendAll($0) }
            for tensor in tensors { try write(tensor, to: file, path: path) }
            try file.synchronize()
            try file.close()
            try fileSystem.rename(temporary, to: path)
        } catch {
            try? fileSystem.removeFile(temporary)
            throw error
        }
        try fileSystem.synchronize(directory: Paths.parent(of: path))
    }

    private static func header(
        _ metadata: [(key: String, value: GGUFValue)], _ tensors: [GGUFTensor]
    ) -> [UInt8] {
        var bytes = [UInt8]("GGUF".utf8)
        bytes.appendLittleEndian(version)
        bytes.appendLittleEndian(UInt64(tensors.count))
        bytes.appendLittleEndian(UInt64(metadata.count))
        for (key, value) in metadata {
            bytes.appendGGUF([UInt8](key.utf8))
            value.append(to: &bytes)
        }
        var offset = 0
        for tensor in tensors {
            bytes.appendGGUF([UInt8](tensor.name.utf8))
            bytes.appendLittleEndian(UInt32(tensor.source.shape.count))
            // The axis whose elements lie next to each other comes first.
            for size in tensor.source.shape.reversed() { bytes.appendLittleEndian(UInt64(size)) }
            bytes.appendLittleEndian(tensor.type.number)
            bytes.appendLittleEndian(UInt64(offset))
            offset += tensor.byteCount + padding(after: tensor.byteCount)
        }
        return bytes + [UInt8](repeating: 0, count: padding(after: bytes.count))
    }

    private static func padding(after count: Int) -> Int { (alignment - count % alignment) % alignment }

    private func write(_ tensor: GGUFTensor, to file: any WritableFile, path: String) throws {
        let source = tensor.source
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceBytes, alignment: 64)
        defer { piece.deallocate() }
        for start in stride(from: 0, to: source.byteCount, by: Self.pieceBytes) {
            let range = start..<min(start + Self.pieceBytes, source.byteCount)
            let buffer = UnsafeMutableRawBufferPointer(rebasing: piece[..<range.count])
            try source.read(range, buffer)
            guard tensor.type == .q8_0 else {
                try file.appendAll(UnsafeRawBufferPointer(buffer))
                continue
            }
            guard let blocks = GGUFType.quantized(UnsafeBufferPointer(buffer.bindMemory(to: Float.self))) else {
                throw CheckpointError(
                    path, "tensor \(tensor.name) holds numbers that q8_0 cannot hold; choose the type f32 or bf16")
            }
            try blocks.withUnsafeBytes { try file.appendAll($0) }
        }
        let zeros = [UInt8](repeating: 0, count: Self.padding(after: tensor.byteCount))
        if !zeros.isEmpty { try zeros.withUnsafeBytes { try file.appendAll($0) } }
    }
}
