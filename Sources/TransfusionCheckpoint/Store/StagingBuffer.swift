internal import Glibc

/// The memory into which the thread that trains copies what other threads then write.
///
/// `@unchecked Sendable`: it is filled before they begin, and only read until they have ended.
package final class StagingBuffer: @unchecked Sendable {
    package let memory: UnsafeMutableRawBufferPointer

    package init(capacity: Int) throws {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        guard let address = mmap(nil, capacity, PROT_READ | PROT_WRITE, flags, -1, 0), address != MAP_FAILED else {
            throw FileSystemError("reserve \(capacity) bytes for staging a checkpoint", "memory", errno)
        }
        memory = UnsafeMutableRawBufferPointer(start: address, count: capacity)
        madvise(address, capacity, 14)  // MADV_HUGEPAGE, which Glibc does not import
    }

    deinit {
        munmap(memory.baseAddress, memory.count)
    }

    /// Makes the operating system hand over the pages now, so that the first copy does not wait for them.
    package func populate() {
        for offset in stride(from: 0, to: memory.count, by: 4096) { memory[offset] = 0 }
    }
}
