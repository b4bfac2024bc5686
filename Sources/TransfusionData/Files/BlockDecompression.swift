internal import CDeflate
internal import CSnappy
internal import CZstd

/// Blocks whose length is known, compressed as a whole.
package enum BlockDecompression {
    /// A stream of zlib, or one or more members of gzip, of which each has its own checksum.
    ///
    /// - Returns: nil when it is damaged or has another length.
    static func gzip(_ bytes: UnsafeRawBufferPointer, count: Int) -> [UInt8]? {
        inflate(
            bytes, count: count,
            by: bytes.starts(with: [0x1F, 0x8B]) ? libdeflate_gzip_decompress_ex : libdeflate_zlib_decompress_ex)
    }

    /// A bare deflate stream, as archives have it.
    ///
    /// - Returns: nil when it is damaged or has another length.
    package static func deflate(_ bytes: UnsafeRawBufferPointer, count: Int) -> [UInt8]? {
        inflate(bytes, count: count, by: libdeflate_deflate_decompress_ex)
    }

    private typealias Decompressor = (
        OpaquePointer?, UnsafeRawPointer?, Int, UnsafeMutableRawPointer?, Int, UnsafeMutablePointer<Int>?,
        UnsafeMutablePointer<Int>?
    ) -> libdeflate_result

    /// One or more streams, one after the other.
    private static func inflate(
        _ bytes: UnsafeRawBufferPointer, count: Int, by decompress: Decompressor
    ) -> [UInt8]? {
        guard let decompressor = libdeflate_alloc_decompressor() else { return nil }
        defer { libdeflate_free_decompressor(decompressor) }
        var isWhole = false
        let result = [UInt8](unsafeUninitializedCapacity: max(count, 1)) { output, written in
            var (read, made) = (0, 0)
            while !isWhole, read < bytes.count {
                var (used, added) = (0, 0)
                let rest = UnsafeRawBufferPointer(rebasing: bytes[read...])
                let outcome = decompress(
                    decompressor, rest.baseAddress, rest.count, output.baseAddress.map { $0 + made }, count - made,
                    &used,
                    &added)
                guard outcome == LIBDEFLATE_SUCCESS else { break }
                read += used
                made += added
                isWhole = made == count
            }
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
