import Testing

@testable import TransfusionCore

@Suite struct CachingAllocatorTests {
    @Test(
        arguments: [
            (0, 64), (1, 64), (64, 64), (65, 128), (256, 256), (257, 320), (320, 320), (321, 384), (448, 448),
            (449, 512),
            (512, 512), (513, 640), (1 << 20, 1 << 20), ((1 << 20) + 1, 5 << 18), (7 << 18, 7 << 18),
        ])
    func sizeClass(bytes: Int, expected: Int) {
        #expect(CachingAllocator.sizeClass(bytes) == expected)
    }

    @Test func sizeClassesWasteAtMostAQuarterAndNeverShrink() {
        var previous = 0
        for bytes in [Array(1...5000), (13...40).flatMap { [1 << $0 - 1, 1 << $0, 1 << $0 + 1] }].joined() {
            let size = CachingAllocator.sizeClass(bytes)
            #expect(size >= bytes && size % 64 == 0)
            #expect(size - bytes <= max(63, bytes / 4))
            #expect(CachingAllocator.sizeClass(size) == size)
            #expect(size >= previous || bytes < previous)
            previous = size
        }
    }

    @Test func blocksAreAlignedCountedAndUsedAgain() {
        let allocator = CachingAllocator()
        var first: Tensor? = Tensor([100, 3], .f32, allocator: allocator)
        let address = first?.bytes.baseAddress
        #expect(UInt(bitPattern: address) % 64 == 0)
        #expect(allocator.liveBytes == 1280 && allocator.cachedBytes == 0)
        first = nil
        #expect(allocator.liveBytes == 0 && allocator.cachedBytes == 1280 && allocator.peakBytes == 1280)
        // 1,200 and 1,270 bytes fall into one class.
        let second = Tensor([1270], .u8, allocator: allocator)
        #expect(second.bytes.baseAddress == address && allocator.cachedBytes == 0)
        let third = Tensor([16], .f32, allocator: allocator)
        #expect(allocator.liveBytes == 1280 + 64 && allocator.peakBytes == 1344)
        allocator.resetPeak()
        #expect(allocator.peakBytes == 1344 && third.count == 16)
    }

    @Test func trimGivesEverythingBack() {
        let allocator = CachingAllocator()
        for size in [10, 1000, 5 << 20] { _ = Tensor([size], .u8, allocator: allocator) }
        #expect(allocator.cachedBytes == 64 + 1024 + 5 << 20)
        allocator.trim()
        #expect(allocator.cachedBytes == 0 && allocator.liveBytes == 0)
    }

    @Test func aViewKeepsTheMemoryOfItsTensor() {
        let allocator = CachingAllocator()
        var whole: Tensor? = Tensor([4, 8], .f32, allocator: allocator)
        for i in 0..<32 { whole?.f32[i] = Float(i) }
        let view = whole!.view(at: 8, [2, 8])
        whole = nil
        #expect(allocator.liveBytes == 128)
        #expect(view.floats() == (8..<24).map(Float.init))
        #expect(view.rows == 2 && view.width == 8 && view.byteCount == 64)
        #expect(view.reshaped([4, 4]).floats() == view.floats())
    }
}
