internal import CSnappy
internal import CZlib
internal import CZstd

/// Blocks whose length is known, compressed as a whole.
enum BlockDecompression {
    /// - Returns: nil when it is damaged or has another length.
    static func gzip(_ bytes: UnsafeRawBufferPointer, count: Int) -> [UInt8]? {
        var stream = z_stream()
        // 32 takes the headers of gzip and of zlib alike.
        guard inflateInit2_(&stream, 15 + 32, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            return nil
        }
        defer { inflateEnd(&stream) }
        stream.next_in = UnsafeMutablePointer(mutating: bytes.bindMemory(to: UInt8.self).baseAddress)
        stream.avail_in = UInt32(bytes.count)
        var isWhole = false
        // One more, so that a block that is too long is found.
        let result = [UInt8](unsafeUninitializedCapacity: count + 1) { output, written in
            stream.next_out = output.baseAddress
            stream.avail_out = UInt32(count + 1)
            isWhole = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.total_out == UInt(count)
            written = isWhole ? count : 0
        }
        return isWhole ? result : nil
    }

    static func zstd(_ bytes: UnsafeRawBufferPointer, count: Int) -> [UInt8]? {
        var isWhole = false
        let result = [UInt8](unsafeUninitializedCapacity: max(count, 1)) { output, written in
            isWhole = ZSTD_decompress(output.baseAddress, count, bytes.baseAddress, bytes.count) == count
            written = isWhole ? count : 0
        }
        return isWhole ? result : nil
    }

    /// The raw format, in which Parquet compresses its pages unless it is told otherwise.
    static func snappy(_ bytes: UnsafeRawBufferPointer, count: Int) -> [UInt8]? {
        let input = bytes.assumingMemoryBound(to: CChar.self).baseAddress
        var length = 0
        // What it says of its length decides how much it writes.
        guard snappy_uncompressed_length(input, bytes.count, &length) == SNAPPY_OK, length == count else { return nil }
        var isWhole = false
        let result = [UInt8](unsafeUninitializedCapacity: max(count, 1)) { output, written in
            output.withMemoryRebound(to: CChar.self) { output in
                isWhole = snappy_uncompress(input, bytes.count, output.baseAddress, &length) == SNAPPY_OK
            }
            written = isWhole ? count : 0
        }
        return isWhole ? result : nil
    }
}
