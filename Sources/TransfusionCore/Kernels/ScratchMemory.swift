internal import Glibc

/// Memory that one thread uses again and again; it grows to the largest demand and stays there.
final class ScratchMemory {
    private var memory: UnsafeMutableRawPointer?
    private var capacity = 0

    deinit { free(memory) }

    /// At least `byteCount` bytes on a 64-byte boundary; contents undefined, valid until the next call.
    func take(_ byteCount: Int) -> UnsafeMutableRawPointer {
        if let memory, byteCount <= capacity { return memory }
        free(memory)
        memory = nil
        capacity = max(byteCount, 64)
        let status = posix_memalign(&memory, 64, capacity)
        guard status == 0, let memory else {
            preconditionFailure("out of memory: \(byteCount) bytes of scratch memory for a kernel")
        }
        return memory
    }
}
