import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

@testable import TransfusionData

/// Against Python's tarfile: Tests/Fixtures/tar_kinds.py.
@Suite struct TarReaderTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    struct Expected: Decodable {
        let name: String
        let kind: String
        let contents: String
    }

    static func bytes(_ name: String) throws -> [UInt8] {
        let fixture = try Fixtures.safetensors("tar_kinds.safetensors")
        return try fixture.elements(name, as: .u8, UInt8.self)
    }

    @Test(arguments: ["ustar", "gnu", "pax", "gzip", "gzip-parts", "zstandard", "zstandard-parts", "binary"])
    func everyMemberIsRead(_ name: String) throws {
        let path = directory.file(name)
        try Files.write(Self.bytes(name + ".file"), to: path)
        let expected = try JSONDecoder().decode([Expected].self, from: Data(Self.bytes(name + ".expected")))
        // Each member read, and each passed over.
        for isRead in [true, false] {
            let reader = try TarReader(path)
            for member in expected {
                let found = try #require(try reader.next())
                #expect(found.name == member.name && "\(found.kind)" == member.kind)
                #expect(found.size == member.contents.utf8.count / 2)
                guard isRead else { continue }
                #expect(try reader.readContents().map { String(format: "%02x", $0) }.joined() == member.contents)
            }
            #expect(try reader.next() == nil)
        }
    }

    /// Wherever a file ends, its end is missed; wherever a header is damaged, that is said.
    @Test(arguments: ["gnu", "pax", "gzip", "zstandard-parts"]) func whatIsCutOffIsRefused(_ name: String) throws {
        let whole = try Self.bytes(name + ".file")
        let path = directory.file("cut.tar")
        // Behind the block of zeros nothing is missed.
        let needed =
            name.hasPrefix("g") && name != "gnu" || name.hasPrefix("z") ? whole.count - 1 : whole.lastIndex { $0 != 0 }!
        for count in Array(stride(from: 0, to: needed, by: max(1, needed / 60))) + [needed - 1] {
            try Files.write(Array(whole.prefix(count)), to: path)
            #expect("\(count) bytes") { try Self.readAll(path) } throws: { "\($0)".hasPrefix(path + ": is ") }
        }
    }

    @discardableResult
    static func readAll(_ path: String) throws(DataError) -> Int {
        let reader = try TarReader(path)
        var count = 0
        while let member = try reader.next() {
            if member.kind == .file { count += try reader.readContents().count }
        }
        return count
    }

    /// A member that promises more bytes than there are gets no room for them.
    @Test func promisedBytesAreNotBelieved() throws {
        var bytes = try Self.bytes("ustar.file")
        bytes.replaceSubrange(124..<136, with: Array("77777777777\0".utf8))
        let blank: (Int) -> Int = { 148..<156 ~= $0 ? 32 : Int(bytes[$0]) }
        let sum = (0..<512).reduce(0) { $0 + blank($1) }
        bytes.replaceSubrange(148..<156, with: Array((String(format: "%06o", sum) + "\0 ").utf8))
        let path = directory.file("huge.tar")
        try Files.write(bytes, to: path)
        let reader = try TarReader(path)
        #expect(try reader.next()?.size == 0o77777777777)
        #expect { try reader.readContents() } throws: { "\($0)" == "\(path): is cut off; make it anew" }
    }

    @Test func damagedFilesAreReadOrRefused() throws {
        let names = ["ustar", "gnu", "pax", "gzip", "zstandard-parts"]
        let files = try names.map { try Self.bytes($0 + ".file") }
        let path = directory.file("damaged.tar")
        var generator = Mutations(seed: 8)
        for _ in 0..<Mutations.count(default: 1000) {
            let bytes = generator.mutated(files[generator.below(files.count)])
            try Data(bytes).write(to: URL(filePath: path))
            do throws(DataError) {
                #expect(try Self.readAll(path) >= 0)
            } catch {
                #expect(error.description.hasPrefix(path + ": is "))
            }
        }
    }
}
