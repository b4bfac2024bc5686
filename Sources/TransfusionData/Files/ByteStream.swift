internal import Glibc

/// A file that is read once from front to back, unpacked on the way when its first bytes say that it is gzip or Zstandard.
/// Memory does not grow with the file.
final class ByteStream {
    let path: String
    /// How many bytes were given, unpacked.
    private(set) var place = 0
    private let descriptor: Int32
    private let unpacking: (any Unpacking)?
    /// What was read of the file and not yet used.
    private var input = [UInt8](repeating: 0, count: 1 << 17)
    private var unused = 0..<0
    private var isAtEnd = false
    /// What `skip` passes over.
    private var scratch: [UInt8] = []

    /// - Throws: `DataError` when it cannot be opened or is no regular file.
    init(_ path: String) throws(DataError) {
        self.path = path
        descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw DataError(path, "cannot be opened: \(String(cString: strerror(errno)))") }
        var status = stat()
        var first: [UInt8] = [0, 0, 0, 0]
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw DataError(path, "is not a regular file")
        }
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
        let count = pread(descriptor, &first, 4, 0)
        if count >= 2, first[0] == 0x1F, first[1] == 0x8B {
            unpacking = GzipUnpacking()
        } else if count == 4, Self.isZstandard(first) {
            unpacking = ZstandardUnpacking()
        } else {
            unpacking = nil
        }
    }

    deinit { close(descriptor) }

    /// A frame, or one to be skipped.
    private static func isZstandard(_ first: [UInt8]) -> Bool {
        first == [0x28, 0xB5, 0x2F, 0xFD] || 0x50...0x5F ~= first[0] && first[1...] == [0x2A, 0x4D, 0x18]
    }

    /// Fills `memory`, or less of it at the end of the file.
    /// - Returns: How many bytes were read.
    func read(into memory: UnsafeMutableRawBufferPointer) throws(DataError) -> Int {
        var filled = 0
        while filled < memory.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: memory[filled...])
            let count = if let unpacking { try unpack(unpacking, into: rest) } else { try copy(into: rest) }
            if count == 0 { break }
            filled += count
        }
        place += filled
        return filled
    }

    /// Passes over bytes.
    /// - Returns: Whether there were as many.
    func skip(_ count: Int) throws(DataError) -> Bool {
        if scratch.isEmpty { scratch = [UInt8](repeating: 0, count: 1 << 16) }
        var left = count
        while left > 0 {
            let part = min(left, scratch.count)
            let count = try scratch.withMutableBytes { (memory) throws(DataError) in
                try read(into: UnsafeMutableRawBufferPointer(rebasing: memory[..<part]))
            }
            guard count == part else { return false }
            left -= part
        }
        return true
    }

    private func copy(into memory: UnsafeMutableRawBufferPointer) throws(DataError) -> Int {
        if unused.isEmpty { try fill() }
        let count = min(memory.count, unused.count)
        input.withUnsafeBytes { input in
            memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[unused.prefix(count)]))
        }
        unused = unused.lowerBound + count..<unused.upperBound
        return count
    }

    private func unpack(
        _ unpacking: any Unpacking, into memory: UnsafeMutableRawBufferPointer
    ) throws(DataError) -> Int {
        while true {
            if unused.isEmpty, !isAtEnd { try fill() }
            if unused.isEmpty, unpacking.isWhole { return 0 }
            let range = unused
            let step = input.withUnsafeBytes {
                unpacking.step(UnsafeRawBufferPointer(rebasing: $0[range]), into: memory)
            }
            guard let step else { throw DataError(path, "is damaged: it cannot be unpacked; make it anew") }
            unused = unused.lowerBound + step.used..<unused.upperBound
            if step.made > 0 { return step.made }
            // Neither taken nor made: it would stay so.
            guard step.used > 0 else { throw DataError(path, "is cut off or damaged; make it anew") }
        }
    }

    private func fill() throws(DataError) {
        while true {
            let count = input.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw DataError(path, "cannot be read: \(String(cString: strerror(errno)))")
            }
            isAtEnd = count == 0
            unused = 0..<count
            return
        }
    }
}
