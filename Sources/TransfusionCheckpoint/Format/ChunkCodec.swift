internal import CZstd
internal import TransfusionCore

/// Packs and unpacks the chunks of a shard.
enum ChunkCodec {
    /// The stored form of `raw`. Compression that does not make it smaller is left out.
    static func encode(
        _ raw: UnsafeRawBufferPointer, type: ElementType, level: Int?
    ) throws -> (encoding: ChunkEncoding, bytes: [UInt8])? {
        guard let level, !raw.isEmpty else { return nil }
        let shuffles = type.isFloat
        let input = shuffles ? shuffled(raw, width: type.byteCount) : Array(raw)
        let capacity = ZSTD_compressBound(raw.count)
        let output = try [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            let result = ZSTD_compress(buffer.baseAddress, capacity, input, input.count, Int32(level))
            guard ZSTD_isError(result) == 0 else { throw ZstdError(result) }
            count = result
        }
        return output.count < raw.count ? (shuffles ? .shuffledZstd : .zstd, output) : nil
    }

    /// Unpacks a chunk whose raw size is known to be that of `raw`.
    static func decode(
        _ stored: UnsafeRawBufferPointer, _ encoding: ChunkEncoding, type: ElementType,
        into raw: UnsafeMutableRawBufferPointer
    ) throws {
        switch encoding {
        case .raw:
            guard stored.count == raw.count else { throw WrongSize(expected: raw.count, found: stored.count) }
            raw.copyMemory(from: stored)
        case .zstd:
            try decompress(stored, into: raw)
        case .shuffledZstd:
            let planes = UnsafeMutableRawBufferPointer.allocate(byteCount: max(raw.count, 1), alignment: 64)
            defer { planes.deallocate() }
            let used = UnsafeMutableRawBufferPointer(rebasing: planes.prefix(raw.count))
            try decompress(stored, into: used)
            unshuffle(UnsafeRawBufferPointer(used), width: type.byteCount, into: raw)
        }
    }

    private static func decompress(_ stored: UnsafeRawBufferPointer, into raw: UnsafeMutableRawBufferPointer) throws {
        let result = ZSTD_decompress(raw.baseAddress, raw.count, stored.baseAddress, stored.count)
        guard ZSTD_isError(result) == 0 else { throw ZstdError(result) }
        guard result == raw.count else { throw WrongSize(expected: raw.count, found: result) }
    }

    /// All first bytes of the elements, then all second bytes, and so on: the bytes with sign and exponent are alike
    /// and compress well when they lie together.
    private static func shuffled(_ raw: UnsafeRawBufferPointer, width: Int) -> [UInt8] {
        let count = raw.count / width
        return [UInt8](unsafeUninitializedCapacity: raw.count) { planes, used in
            guard let planes = planes.baseAddress, let source = raw.baseAddress else { return }
            for plane in 0..<width {
                let source = source.assumingMemoryBound(to: UInt8.self) + plane
                let target = planes + plane &* count
                for element in 0..<count { target[element] = source[element &* width] }
            }
            used = raw.count
        }
    }

    private static func unshuffle(
        _ planes: UnsafeRawBufferPointer, width: Int, into raw: UnsafeMutableRawBufferPointer
    ) {
        let count = raw.count / width
        guard let source = planes.baseAddress, let target = raw.baseAddress else { return }
        for plane in 0..<width {
            let source = source.assumingMemoryBound(to: UInt8.self) + plane &* count
            let target = target.assumingMemoryBound(to: UInt8.self) + plane
            for element in 0..<count { target[element &* width] = source[element] }
        }
    }

    struct WrongSize: Error, CustomStringConvertible {
        let expected: Int
        let found: Int
        var description: String { "unpacks to \(found) bytes instead of \(expected)" }
    }

    struct ZstdError: Error, CustomStringConvertible {
        let description: String
        init(_ code: Int) { description = "zstd: " + String(cString: ZSTD_getErrorName(code)) }
    }
}

extension ElementType {
    var isFloat: Bool {
        switch self {
        case .f32, .bf16, .f16: true
        case .i32, .i64, .u8: false
        }
    }
}
