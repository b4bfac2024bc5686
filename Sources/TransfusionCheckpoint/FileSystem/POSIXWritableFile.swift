internal import Glibc

/// A file of the operating system that grows, and whose bytes go to the disk past the page cache where that is possible.
///
/// A copy into the page cache costs the processors as much as a digest, and the disk has nothing to do until the kernel
/// begins to write back. Direct writes need neither: the disk takes the bytes out of the caller's memory while other threads
/// work. They begin and end on blocks, in memory as in the file: what lies otherwise is gathered in a buffer, what is left at
/// the end goes the ordinary way, and so does everything where the file system has no direct writes.
final class POSIXWritableFile: WritableFile {
    private let path: String
    private var descriptor: Int32
    private var isDirect = false
    private var mayBeDirect = true
    /// Begins with the `gathered` bytes that were appended and are not yet written. Whole pages of its own, of which only
    /// those that are used take memory.
    private let buffer: UnsafeMutableRawBufferPointer
    private var gathered = 0

    /// A multiple of what disks ask of addresses and offsets.
    private static let blockBytes = 4096
    private static let bufferBytes = 4 << 20
    /// Less is not worth a turn of the disk of its own.
    private static let leastDirectBytes = 1 << 20

    /// Creates a file that did not exist before.
    init(creating path: String) throws(FileSystemError) {
        self.path = path
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        guard let pages = mmap(nil, Self.bufferBytes, PROT_READ | PROT_WRITE, flags, -1, 0), pages != MAP_FAILED else {
            throw FileSystemError("reserve \(Self.bufferBytes) bytes for writing", path, errno)
        }
        buffer = UnsafeMutableRawBufferPointer(start: pages, count: Self.bufferBytes)
        descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else {
            // The buffer goes with the object: all that it holds has its value here.
            throw FileSystemError("create", path, errno)
        }
    }

    deinit {
        if descriptor >= 0 { Glibc.close(descriptor) }
        munmap(buffer.baseAddress, buffer.count)
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws(FileSystemError) -> Int {
        let missing = (Self.blockBytes - gathered % Self.blockBytes) % Self.blockBytes
        let isInPlace = (Int(bitPattern: bytes.baseAddress) + missing) % Self.blockBytes == 0
        guard isInPlace, bytes.count >= Self.leastDirectBytes else {
            let count = gather(bytes)
            if gathered == Self.bufferBytes { try writeGathered(directly: true) }
            return count
        }
        // What completes the last block is copied; the blocks after it follow in the same write.
        let end = bytes.count - (bytes.count - missing) % Self.blockBytes
        gather(UnsafeRawBufferPointer(rebasing: bytes[..<missing]))
        try writeGathered(and: UnsafeRawBufferPointer(rebasing: bytes[missing..<end]), directly: true)
        return end
    }

    func synchronize() throws(FileSystemError) {
        try writeGathered(directly: false)
        if fsync(descriptor) != 0 { throw FileSystemError("flush", path, errno) }
    }

    func close() throws(FileSystemError) {
        try writeGathered(directly: false)
        let closing = descriptor
        descriptor = -1
        if Glibc.close(closing) != 0 { throw FileSystemError("close", path, errno) }
    }

    /// Copies what there is room for to the end of the buffer.
    @discardableResult
    private func gather(_ bytes: UnsafeRawBufferPointer) -> Int {
        let taken = UnsafeRawBufferPointer(rebasing: bytes.prefix(buffer.count - gathered))
        UnsafeMutableRawBufferPointer(rebasing: buffer[gathered...]).copyMemory(from: taken)
        gathered += taken.count
        return taken.count
    }

    private func writeGathered(
        and more: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0), directly: Bool
    ) throws(FileSystemError) {
        var first = UnsafeRawBufferPointer(rebasing: buffer[..<gathered]), second = more
        while !first.isEmpty || !second.isEmpty {
            let count = try write(first, second, directly: directly)
            let ofFirst = min(count, first.count)
            first = UnsafeRawBufferPointer(rebasing: first[ofFirst...])
            second = UnsafeRawBufferPointer(rebasing: second[(count - ofFirst)...])
        }
        gathered = 0
    }

    /// Writes at least one and at most all bytes of two parts, and returns how many.
    private func write(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, directly: Bool
    ) throws(FileSystemError) -> Int {
        while true {
            setDirect(directly && mayBeDirect && (first.count + second.count) % Self.blockBytes == 0)
            let parts = [first, second].map {
                iovec(iov_base: UnsafeMutableRawPointer(mutating: $0.baseAddress), iov_len: $0.count)
            }
            let count = writev(descriptor, parts, Int32(parts.count))
            if count > 0 { return count }
            if count == 0 { throw FileSystemError("write", path, ENOSPC) }
            if errno == EINVAL, isDirect {
                // Larger blocks than ours, or a file that ends within one since a write was cut short.
                mayBeDirect = false
            } else if errno != EINTR {
                throw FileSystemError("write", path, errno)
            }
        }
    }

    private func setDirect(_ wanted: Bool) {
        guard wanted != isDirect else { return }
        if fcntl(descriptor, F_SETFL, wanted ? Self.directFlag : 0) == 0 {
            isDirect = wanted
        } else {
            mayBeDirect = false
        }
    }

    // O_DIRECT, which Glibc does not import.
    #if arch(arm64)
        private static let directFlag: Int32 = 0x10000
    #else
        private static let directFlag: Int32 = 0x4000
    #endif
}
