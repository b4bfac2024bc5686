import Testing

@testable import TransfusionData

/// Blocks that Python's gzip and zlib compressed.
@Suite struct BlockDecompressionTests {
    private static let firstMember: [UInt8] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 207, 75, 85, 200, 77, 205, 77, 74, 45, 210, 81, 0, 0, 87, 219, 164, 10,
        12, 0, 0, 0,
    ]
    private static let emptyMember: [UInt8] = [31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    private static let secondMember: [UInt8] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 75, 204, 75, 81, 72, 204, 203, 47, 201, 72, 45, 2, 0, 111, 149, 79, 205, 11, 0,
        0, 0,
    ]
    private static let zlibStream: [UInt8] = [
        120, 156, 203, 207, 75, 85, 40, 46, 41, 74, 77, 204, 5, 0, 21, 98, 3, 239,
    ]

    private func text(_ bytes: [UInt8], _ count: Int) -> String? {
        bytes.withUnsafeBytes { BlockDecompression.gzip($0, count: count) }.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func membersFollowOneAnother() {
        #expect(text(Self.firstMember, 12) == "one member, ")
        #expect(text(Self.firstMember + Self.emptyMember + Self.secondMember, 23) == "one member, and another")
        #expect(text(Self.emptyMember, 0) == "")
        #expect(text(Self.zlibStream, 10) == "one stream")
    }

    @Test func damageIsFound() {
        for bytes in [Self.firstMember + Self.secondMember, Self.zlibStream] {
            let count = bytes == Self.zlibStream ? 10 : 23
            #expect(text(bytes, count) != nil)
            #expect(text(bytes, count - 1) == nil)
            #expect(text(bytes, count + 1) == nil)
            for length in bytes.indices { #expect(text(Array(bytes[..<length]), count) == nil, "of \(length) bytes") }
        }
        var changed = Self.firstMember
        changed[changed.count - 5] ^= 1
        #expect(text(changed, 12) == nil)
    }
}
