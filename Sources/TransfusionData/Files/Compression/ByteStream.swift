internal import CZlib
internal import CZstd
internal import Glibc

/// A file from front to back, decompressed where it begins as gzip's or zstd's do.
///
/// Memory does not depend on the size of the file.
final class ByteStream {
    private enum Form {
        case plain
        case gzip(UnsafeMutablePointer<z_stream>)
        case zstd(OpaquePointer)
    }

    private static let inputBytes = 1 << 18

    let path: String
    private let descriptor: Int32
    private var form = Form.plain
    private var input: UnsafeMutableRawBufferPointer
    private var inputRange = 0..<0
    private var isAtEnd = false
    /// Whether a compressed stream has begun and not ended.
    private var isInside = false

    init(_ path: String) throws(DataError) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw DataError(path, "cannot be opened: \(String(cString: strerror(errno)))") }
        input = .allocate(byteCount: Self.inputBytes, alignment: 16)
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw DataError(path, "is not a regular file")
        }
        try fill()
        let start = UnsafeRawBufferPointer(rebasing: input[inputRange])
        if start.starts(with: [0x1F, 0x8B]) {
            let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
            stream.initialize(to: z_stream())
            guard inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
                stream.deallocate()
                throw DataError(path, "cannot be decompressed: out of memory")
            }
            form = .gzip(stream)
        } else if start.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
            guard let stream = ZSTD_createDStream() else {
                throw DataError(path, "cannot be decompressed: out of memory")
            }
            form = .zstd(stream)
        }
    }

    deinit {
        switch form {
        case .plain: break
        case .gzip(let stream):
            inflateEnd(stream)
            stream.deallocate()
        case .zstd(let stream): ZSTD_freeDStream(stream)
        }
        input.deallocate()
        if descriptor >= 0 { close(descriptor) }
    }

    private func fill() throws(DataError) {
        while true {
            let count = Glibc.read(descriptor, input.baseAddress, input.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw DataError(path, "cannot be read: \(String(cString: strerror(errno)))") }
            isAtEnd = count == 0
            inputRange = 0..<count
            return
        }
    }

    /// Fills `output` from its front.
    /// - Returns: How many bytes; fewer than there is room for only at the end.
    func read(into output: UnsafeMutableRawBufferPointer) throws(DataError) -> Int {
        var written = 0
        while written < output.count {
            if inputRange.isEmpty, !isAtEnd { try fill() }
            let room = UnsafeMutableRawBufferPointer(rebasing: output[written...])
            let count =
                switch form {
                case .plain: takePlain(room)
                case .gzip(let stream): try takeGzip(stream, room)
                case .zstd(let stream): try takeZstd(stream, room)
                }
            written += count
            if count == 0, inputRange.isEmpty, isAtEnd {
                guard !isInside else { throw DataError(path, "is cut off: its compressed data have no end") }
                break
            }
        }
        return written
    }

    private func takePlain(_ output: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(output.count, inputRange.count)
        output.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[inputRange.prefix(count)]))
        inputRange = inputRange.dropFirst(count)
        return count
    }

    private func damage() -> DataError { DataError(path, "is damaged: it cannot be decompressed") }

    private func takeGzip(
        _ stream: UnsafeMutablePointer<z_stream>, _ output: UnsafeMutableRawBufferPointer
    ) throws(DataError) -> Int {
        // Behind the end of one stream another may follow.
        if !isInside, inputRange.isEmpty { return 0 }
        isInside = true
        let start = input.baseAddress.map { $0 + inputRange.lowerBound }
        stream.pointee.next_in = start?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_in = UInt32(inputRange.count)
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(min(output.count, 1 << 30))
        let room = Int(stream.pointee.avail_out)
        let status = inflate(stream, Z_NO_FLUSH)
        inputRange = inputRange.upperBound - Int(stream.pointee.avail_in)..<inputRange.upperBound
        switch status {
        case Z_OK, Z_BUF_ERROR: break
        case Z_STREAM_END:
            isInside = false
            guard inflateReset(stream) == Z_OK else { throw damage() }
        default: throw damage()
        }
        return room - Int(stream.pointee.avail_out)
    }

    private func takeZstd(
        _ stream: OpaquePointer, _ output: UnsafeMutableRawBufferPointer
    ) throws(DataError) -> Int {
        if !isInside, inputRange.isEmpty { return 0 }
        var from = ZSTD_inBuffer(
            src: input.baseAddress.map { UnsafeRawPointer($0 + inputRange.lowerBound) }, size: inputRange.count, pos: 0)
        var to = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let left = ZSTD_decompressStream(stream, &to, &from)
        guard ZSTD_isError(left) == 0 else { throw damage() }
        inputRange = inputRange.lowerBound + from.pos..<inputRange.upperBound
        isInside = left != 0
        return to.pos
    }
}
