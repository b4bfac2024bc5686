internal import Glibc
internal import TransfusionCore

/// A file mapped into memory for reading.
///
/// `@unchecked Sendable`: the mapping is made once, read only, and removed when the last reference goes.
final class MappedFile: @unchecked Sendable {
    let path: String
    /// Keep the file for as long as they are used: `withExtendedLifetime`.
    let bytes: UnsafeRawBufferPointer

    /// - Throws: `DataError` when the file is missing, is not a regular file, or has not the expected size.
    init(_ path: String, expectedBytes: Int? = nil) throws(DataError) {
        self.path = path
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw DataError(path, "cannot be opened: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw DataError(path, "is not a regular file")
        }
        let size = Int(status.st_size)
        if let expectedBytes, expectedBytes != size {
            throw DataError(
                path, "has \(size) bytes, the manifest says \(expectedBytes); the data set is damaged, build it again")
        }
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        let address = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0)
        guard let address, address != MAP_FAILED else {
            throw DataError(path, "cannot be mapped: \(String(cString: strerror(errno)))")
        }
        bytes = UnsafeRawBufferPointer(start: address, count: size)
    }

    deinit {
        if let address = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: address), bytes.count) }
    }

    /// Tells the kernel that reads jump about: else each brings in its neighbourhood, which nobody reads.
    func expectRandomReads() {
        if let address = bytes.baseAddress {
            madvise(UnsafeMutableRawPointer(mutating: address), bytes.count, MADV_RANDOM)
        }
    }

    /// Takes what was read out of this process's memory. The kernel keeps it as long as it has room, and gives it back when
    /// it is read again.
    func forgetPages() {
        if let address = bytes.baseAddress {
            madvise(UnsafeMutableRawPointer(mutating: address), bytes.count, MADV_DONTNEED)
        }
    }

    /// SHA-256 of the contents in hexadecimal digits. What was read leaves this process's memory, which it may not fit into.
    /// - Parameter progress: Told how many bytes are done.
    func digest(progress: (_ bytes: Int) -> Void = { _ in }) -> String {
        withExtendedLifetime(self) {
            SHA256.hexDigest(bytes) {
                forgetPages()
                progress($0)
            }
        }
    }

    /// The little-endian integer at a byte offset, or nil when it does not lie wholly inside the file.
    func integer<Integer: FixedWidthInteger>(at offset: Int, as type: Integer.Type = Integer.self) -> Integer? {
        guard offset >= 0, offset <= bytes.count - MemoryLayout<Integer>.size else { return nil }
        return Integer(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }
}
