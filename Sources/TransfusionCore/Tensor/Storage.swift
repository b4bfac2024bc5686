internal import Glibc

/// A run of 64-byte-aligned memory, given back to its allocator when the last tensor on it goes away.
final class Storage {
    let byteCount: Int
    /// Whether there is memory at `address`: not with sizes only.
    let isBacked: Bool
    private let block: CachingAllocator.Block
    private let allocator: CachingAllocator?
    private let release: (() -> Void)?

    var address: UnsafeMutableRawPointer { block.address }

    /// Takes memory from `allocator`. The contents are undefined.
    init(byteCount: Int, allocator: CachingAllocator) {
        self.byteCount = byteCount
        self.allocator = allocator
        isBacked = !allocator.isSizesOnly
        release = nil
        block = allocator.take(byteCount)
    }

    /// Wraps memory that somebody else owns (a mapped file, a shared window); `release` runs when it is no longer used.
    init(wrapping memory: UnsafeMutableRawBufferPointer, release: @escaping () -> Void) {
        block = CachingAllocator.Block(address: memory.baseAddress!, writtenBytes: 0)
        byteCount = memory.count
        isBacked = true
        allocator = nil
        self.release = release
    }

    /// Memory of no bytes.
    static var none: Storage {
        Storage(wrapping: UnsafeMutableRawBufferPointer(start: UnsafeMutableRawPointer(bitPattern: 64), count: 0)) {}
    }

    deinit {
        allocator?.giveBack(block, byteCount)
        release?()
    }
}

/// Hands out aligned memory and keeps what comes back, so that a training step in its steady state asks the operating
/// system for nothing.
///
/// Blocks are kept by size class (four classes per power of two, so at most a quarter of a block is unused). An
/// allocator belongs to one thread, like the tensors on it.
///
/// With sizes only it counts all of that and takes no memory: what a pass would need is known before there is any.
public final class CachingAllocator {
    struct Block {
        let address: UnsafeMutableRawPointer
        /// How much of it tensors have written so far: the rest costs no memory.
        var writtenBytes: Int
    }

    /// Whether the tensors have sizes and no memory.
    public let isSizesOnly: Bool
    /// Bytes in use by tensors now.
    public private(set) var liveBytes = 0
    /// The largest value that `liveBytes` had since the last `resetPeak()`.
    public private(set) var peakBytes = 0
    /// Bytes kept for later use.
    public private(set) var cachedBytes = 0
    /// Bytes that tensors have written in all blocks, kept ones included.
    public private(set) var residentBytes = 0

    private var free: [Int: [Block]] = [:]

    public init(isSizesOnly: Bool = false) {
        self.isSizesOnly = isSizesOnly
    }

    deinit {
        trim()
    }

    /// Starts a new measurement of `peakBytes`.
    public func resetPeak() {
        peakBytes = liveBytes
    }

    /// Returns every kept block to the operating system.
    public func trim() {
        for block in free.values.joined() {
            residentBytes -= block.writtenBytes
            if !isSizesOnly { Glibc.free(block.address) }
        }
        free.removeAll()
        cachedBytes = 0
    }

    func take(_ byteCount: Int) -> Block {
        let size = Self.sizeClass(byteCount)
        liveBytes += size
        peakBytes = max(peakBytes, liveBytes)
        var block: Block
        if let kept = free[size]?.popLast() {
            cachedBytes -= size
            block = kept
        } else {
            block = Block(address: allocate(size), writtenBytes: 0)
        }
        let written = max(block.writtenBytes, Self.writtenBytes(byteCount))
        residentBytes += written - block.writtenBytes
        block.writtenBytes = written
        return block
    }

    /// An address that traps when it is used.
    private static var nowhere: UnsafeMutableRawPointer { UnsafeMutableRawPointer(bitPattern: 64)! }

    private func allocate(_ size: Int) -> UnsafeMutableRawPointer {
        if isSizesOnly { return Self.nowhere }
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

    func giveBack(_ block: Block, _ byteCount: Int) {
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
