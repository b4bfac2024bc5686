/// One rank's part of memory that the ranks of a host may all see; freed with the last reference.
public final class SharedBuffer {
    /// This rank's part, aligned to a page and zero at first.
    public let bytes: UnsafeMutableRawBufferPointer
    private let region: SharedRegion?
    private let partStride: Int

    /// Part `rank` of a region that holds a part of `partStride` bytes for each rank.
    init(region: SharedRegion, rank: Int, partStride: Int, byteCount: Int) {
        self.region = region
        self.partStride = partStride
        bytes = UnsafeMutableRawBufferPointer(start: region.address + rank * partStride, count: byteCount)
    }

    /// Memory of one rank alone.
    init(privateBytes byteCount: Int) {
        bytes = .allocate(byteCount: byteCount, alignment: SharedRegion.pageSize)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        region = nil
        partStride = 0
    }

    deinit {
        if region == nil { bytes.deallocate() }
    }

    /// How far `values` lies into this rank's part, if it lies in it.
    func offset(of values: UnsafeMutableRawBufferPointer) -> Int? {
        guard let start = values.baseAddress, let base = bytes.baseAddress else { return nil }
        let offset = start - base
        return offset >= 0 && offset + values.count <= bytes.count ? offset : nil
    }

    /// The start of another rank's part; only for memory that is shared.
    func part(of rank: Int) -> UnsafeMutableRawPointer? {
        region.map { $0.address + rank * partStride }
    }
}
