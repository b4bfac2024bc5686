internal import Glibc

/// A run of 64-byte-aligned memory, given back to its allocator when the last tensor on it goes away.
final class Storage {
    let address: UnsafeMutableRawPointer
    let byteCount: Int
    private let allocator: CachingAllocator?
    private let release: (() -> Void)?

    /// Takes memory from `allocator`. The contents are undefined.
    init(byteCount: Int, allocator: CachingAllocator) {
        self.byteCount = byteCount
        self.allocator = allocator
        release = nil
        address = allocator.take(byteCount)
    }

    /// Wraps memory that somebody else owns (a mapped file, a shared window); `release` runs when it is no longer used.
    init(wrapping memory: UnsafeMutableRawBufferPointer, release: @escaping () -> Void) {
        address = memory.baseAddress!
        byteCount = memory.count
        allocator = nil
        self.release = release
    }

    /// Memory of no bytes.
    static var none: Storage {
        Storage(wrapping: UnsafeMutableRawBufferPointer(start: UnsafeMutableRawPointer(bitPattern: 64), count: 0)) {}
    }

    deinit {
        allocator?.giveBack(address, byteCount)
        release?()
    }
}

/// Hands out aligned memory and keeps what comes back, so that a training step in its steady state asks the operating
/// system for nothing.
///
/// Blocks are kept by size class (four classes per power of two, so at most a quarter of a block is unused). An
/// allocator belongs to one thread, like the tensors on it.
public final class CachingAllocator {
    /// Bytes in use by tensors now.
    public private(set) var liveBytes = 0
    /// The largest value that `liveBytes` had since the last `resetPeak()`.
    public private(set) var peakBytes = 0
    /// Bytes kept for later use.
    public private(set) var cachedBytes = 0

    private var free: [Int: [UnsafeMutableRawPointer]] = [:]

    public init() {}

    deinit {
        trim()
    }

    /// Starts a new measurement of `peakBytes`.
    public func resetPeak() {
        peakBytes = liveBytes
    }

    /// Returns every kept block to the operating system.
    public func trim() {
        for blocks in free.values {
            for block in blocks { Glibc.free(block) }
        }
        free.removeAll()
        cachedBytes = 0
    }

    func take(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let size = Self.sizeClass(byteCount)
        liveBytes += size
        peakBytes = max(peakBytes, liveBytes)
        if let block = free[size]?.popLast() {
            cachedBytes -= size
            return block
        }
        if let block = Self.allocate(size) { return block }
        trim()
        guard let block = Self.allocate(size) else {
            // Not a mistake of the program: said also where preconditions are silent.
            fatalError("out of memory: \(size) bytes for one tensor, \(liveBytes) bytes in use")
        }
        return block
    }

    private static func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
        var block: UnsafeMutableRawPointer?
        let isLarge = size >= 2 * hugePage
        guard posix_memalign(&block, isLarge ? hugePage : 64, size) == 0, let block else { return nil }
        // Products walk through megabytes: with small pages they would wait for page tables.
        if isLarge { madvise(block, size, MADV_HUGEPAGE) }
        return block
    }

    private static let hugePage = 2 << 20

    /// How much of a block is written by a tensor of `byteCount` bytes: whole pages.
    static func writtenBytes(_ byteCount: Int) -> Int {
        let size = sizeClass(byteCount)
        let page = size >= 2 * hugePage ? hugePage : 4096
        return min(size, (byteCount + page - 1) / page * page)
    }

    func giveBack(_ block: UnsafeMutableRawPointer, _ byteCount: Int) {
        let size = Self.sizeClass(byteCount)
        liveBytes -= size
        cachedBytes += size
        free[size, default: []].append(block)
    }

    /// The smallest `(4 + k) · 2ⁿ` (k in 0...3) that is at least `byteCount` and 64.
    static func sizeClass(_ byteCount: Int) -> Int {
        guard byteCount > 256 else { return (max(byteCount, 1) + 63) & ~63 }
        let step = 1 << (Int.bitWidth - 1 - (byteCount - 1).leadingZeroBitCount - 2)
        return (byteCount + step - 1) & ~(step - 1)
    }
}
