internal import CZlib
internal import CZstd

/// Takes packed bytes and gives what was packed.
protocol Unpacking: AnyObject {
    /// Whether all that was begun has come to its end.
    var isWhole: Bool { get }

    /// - Returns: How many bytes were taken and made; nil for bytes that nothing was packed to.
    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> (used: Int, made: Int)?
}

/// gzip (RFC 1952), also several one after the other.
final class GzipUnpacking: Unpacking {
    private var stream = z_stream()
    private let isReady: Bool
    private(set) var isWhole = true

    init() {
        // 15 bits of window, and 16 for gzip's header and checksum.
        isReady = inflateInit2_(&stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    }

    deinit { inflateEnd(&stream) }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> (used: Int, made: Int)? {
        guard isReady, let from = input.baseAddress, let to = output.baseAddress else { return nil }
        if isWhole {
            // Some programs fill the file with zeros.
            let zeros = input.prefix { $0 == 0 }.count
            if zeros > 0 { return (zeros, 0) }
            guard inflateReset(&stream) == Z_OK else { return nil }
            isWhole = false
        }
        let (room, most) = (min(input.count, 1 << 30), min(output.count, 1 << 30))
        stream.next_in = UnsafeMutablePointer(mutating: from.assumingMemoryBound(to: UInt8.self))
        stream.avail_in = UInt32(room)
        stream.next_out = to.assumingMemoryBound(to: UInt8.self)
        stream.avail_out = UInt32(most)
        let status = inflate(&stream, Z_NO_FLUSH)
        guard status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR else { return nil }
        isWhole = status == Z_STREAM_END
        return (room - Int(stream.avail_in), most - Int(stream.avail_out))
    }
}

/// Zstandard (RFC 8878), also several frames. Frames that need more than 128 MiB of window are refused by the library.
final class ZstandardUnpacking: Unpacking {
    private let stream = ZSTD_createDStream()
    private(set) var isWhole = true

    deinit { ZSTD_freeDStream(stream) }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> (used: Int, made: Int)? {
        guard let stream else { return nil }
        var from = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var to = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let status = ZSTD_decompressStream(stream, &to, &from)
        guard ZSTD_isError(status) == 0 else { return nil }
        isWhole = status == 0
        return (from.pos, to.pos)
    }
}
