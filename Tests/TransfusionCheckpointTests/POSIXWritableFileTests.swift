import Foundation
import Testing
import TransfusionCheckpoint
import _TestUtilities

/// What is appended arrives in order, whatever of it goes to the disk directly.
@Suite struct POSIXWritableFileTests {
    /// Sizes of pieces, and how far their memory is off a page.
    static let pieces: [[(count: Int, offset: Int)]] = [
        [],
        [(1, 0)],
        [(4096, 0)],
        // In place, to the last block.
        [(8 << 20, 0), (8 << 20, 0), (5 << 20 + 17, 0)],
        // Through the buffer, over several fillings.
        [(8 << 20, 64), (8 << 20, 32), (3 << 20, 1)],
        // A small piece between large ones whose memory goes on where the file does, as in a staging buffer.
        [(3072, 0), (6 << 20, 3072), (6 << 20, 3072), (48, 3072), (2 << 20, 3120)],
        // From one way to the other and back.
        [(4 << 20, 0), (100, 7), (4 << 20, 0), (1 << 20 - 100, 9), (3 << 20, 0), (5, 0)],
    ]

    @Test(arguments: pieces.indices) func whatIsAppendedIsInTheFile(_ index: Int) throws {
        let directory = try TemporaryDirectory()
        try check(Self.pieces[index], in: directory.path)
    }

    /// A file system of another kind: some know no direct writes.
    @Test(.enabled(if: FileManager.default.isWritableFile(atPath: "/dev/shm")), arguments: pieces.indices)
    func soItIsInSharedMemory(_ index: Int) throws {
        let directory = "/dev/shm/transfusion-tests-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try check(Self.pieces[index], in: directory)
    }

    /// Once the file ends inside a block the disk takes no direct writes any more.
    @Test(arguments: pieces.indices) func whatFollowsAnOddEndIsInTheFile(_ index: Int) throws {
        let directory = try TemporaryDirectory()
        try check(Self.pieces[index], in: directory.path, synchronizing: true)
    }

    private func check(
        _ pieces: [(count: Int, offset: Int)], in directory: String, synchronizing: Bool = false
    ) throws {
        let path = directory + "/file"
        let file = try POSIXFileSystem().create(path)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 9 << 20, alignment: 4096)
        defer { memory.deallocate() }
        for i in memory.indices { memory[i] = UInt8(truncatingIfNeeded: i &* 31 &+ i >> 11) }
        var expected = Data()
        for piece in pieces {
            var rest = UnsafeRawBufferPointer(rebasing: memory[piece.offset..<piece.offset + piece.count])
            expected.append(contentsOf: rest)
            while !rest.isEmpty {
                let count = try file.append(rest)
                try #require((1...rest.count).contains(count))
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
            if synchronizing { try file.synchronize() }
        }
        try file.synchronize()
        // Everything is there once it is synchronised, not only when the file is closed.
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == expected)
        try file.close()
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == expected)
    }
}
