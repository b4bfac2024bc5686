internal import Glibc

/// A bounded buffer between the thread that trains and the threads that write: chunks go in and out in order.
///
/// `@unchecked Sendable`: who reserves a region fills it alone; after `publish` it is only read, until `release`.
final class StagingBuffer: @unchecked Sendable {
    let capacity: Int
    private let memory: UnsafeMutableRawBufferPointer
    private let monitor = Monitor(State())

    private struct State {
        /// Where each chunk lies, counted on over every turn of the ring.
        var regions: [Range<Int>] = []
        var published: Set<Int> = []
        var released = 0
        var failure: (any Error)?
    }

    init(capacity: Int) throws {
        self.capacity = capacity
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
    func populate() {
        for offset in stride(from: 0, to: capacity, by: 4096) { memory[offset] = 0 }
    }

    /// Empties the buffer for another save.
    func reset() {
        monitor.update { $0 = State() }
    }

    /// Takes the region of chunk `index`; waits for those before it, and for room.
    func reserve(_ index: Int, byteCount: Int) throws -> UnsafeMutableRawBufferPointer {
        let region = try monitor.wait { [capacity] state -> Result<Range<Int>, any Error>? in
            if let failure = state.failure { return .failure(failure) }
            guard state.regions.count == index else { return nil }
            let end = state.regions.last?.upperBound ?? 0
            // A region is never cut by the end of the memory.
            let start = end % capacity + byteCount <= capacity ? end : (end / capacity + 1) * capacity
            let oldest = state.released < index ? state.regions[state.released].lowerBound : start
            guard start + byteCount - oldest <= capacity else { return nil }
            state.regions.append(start..<start + byteCount)
            return .success(start..<start + byteCount)
        }.get()
        return slice(region)
    }

    /// Says that the region of chunk `index` is filled.
    func publish(_ index: Int) {
        monitor.update { _ = $0.published.insert(index) }
    }

    /// The contents of chunk `index`; waits until they are published.
    func contents(_ index: Int) throws -> UnsafeRawBufferPointer {
        let region = try monitor.wait { state -> Result<Range<Int>, any Error>? in
            if let failure = state.failure { return .failure(failure) }
            return state.published.contains(index) ? .success(state.regions[index]) : nil
        }.get()
        return UnsafeRawBufferPointer(slice(region))
    }

    /// Gives back the regions of chunk `index` and all before.
    func release(_ index: Int) {
        monitor.update { $0.released = index + 1 }
    }

    /// Ends all waiting, on both sides, with `error`.
    func fail(_ error: any Error) {
        monitor.update { if $0.failure == nil { $0.failure = error } }
    }

    private func slice(_ region: Range<Int>) -> UnsafeMutableRawBufferPointer {
        let start = region.lowerBound % capacity
        return UnsafeMutableRawBufferPointer(rebasing: memory[start..<start + region.count])
    }
}
