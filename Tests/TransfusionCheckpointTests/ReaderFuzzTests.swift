import Foundation
import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionCheckpoint

/// Mutations of real files through every reader: each input is accepted or refused with an error, never a crash, a
/// hang or a large allocation.
@Suite struct ReaderFuzzTests {
    @Test func safetensorsHeaders() throws {
        let good = Array(try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("checkpoint/types.safetensors"))))
        var accepted = 0
        let count = 50_000
        try fuzz(good, count: count, seed: 1) { bytes in
            let file = try SafetensorsFile("x", fileSystem: OneFile(bytes))
            accepted += 1
            for entry in file.entries {
                #expect(entry.byteCount <= bytes.count)
                _ = try? file.floats(entry.name)
            }
        }
        print("fuzzed safetensors files: \(count) inputs, \(accepted) valid")
        #expect(accepted > 0 && accepted < count)
    }

    /// With the digest repaired, as somebody who edits on purpose would, the checks behind it are reached.
    @Test(arguments: [false, true]) func manifests(_ repaired: Bool) throws {
        let files = CrashFileSystem()
        let store = CheckpointStore(
            "/c", options: .init(compressionLevel: 1, chunkBytes: 64, threads: 1), fileSystem: files)
        try store.save(step: 1, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        let good = try files.contents("/c/step-00000001/manifest.json", limit: 1 << 20)
        var accepted = 0
        let count = 25_000
        try fuzz(good, count: count, seed: 2) { bytes in
            let bytes = repaired ? Self.withRepairedDigest(bytes) : bytes
            let manifest = try Manifest(decoding: bytes, path: "m")
            accepted += 1
            #expect(manifest.tensorBytes <= manifest.tensors.count << 48)
        }
        print("fuzzed manifests, digest \(repaired ? "repaired" : "as is"): \(count) inputs, \(accepted) valid")
        #expect(repaired ? accepted > 0 : accepted < count / 10)
    }

    /// Chunks whose digest holds, but whose packed contents are anything.
    @Test func packedChunks() throws {
        let values = (0..<64).map { Float($0) * 0.1 }
        let packed = try #require(
            try values.withUnsafeBytes { try ChunkCodec.encode($0, type: .f32, level: 3) }?.bytes)
        let raw = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 16)
        defer { raw.deallocate() }
        try fuzz(packed, count: 25_000, seed: 3) { bytes in
            for encoding in [ChunkEncoding.raw, .zstd, .shuffledZstd] {
                try? bytes.withUnsafeBytes { try ChunkCodec.decode($0, encoding, type: .f32, into: raw) }
            }
        }
        try packed.withUnsafeBytes { try ChunkCodec.decode($0, .shuffledZstd, type: .f32, into: raw) }
        #expect(Array(raw.bindMemory(to: Float.self)) == values)
    }

    /// Runs `body` on `good` with one to four mutations. Errors of the readers are fine, others are not.
    private func fuzz(_ good: [UInt8], count: Int, seed: UInt64, _ body: ([UInt8]) throws -> Void) throws {
        var generator = SplitMix(seed: seed)
        for _ in 0..<count {
            var bytes = good
            for _ in 0...Int.random(in: 0..<4, using: &generator) { Self.mutate(&bytes, &generator) }
            do {
                try body(bytes)
            } catch is CheckpointError {
            } catch is FileSystemError {
            }
        }
    }

    private static let numbers = [
        "0", "1", "-1", "2", "64", "255", "4294967296", "9223372036854775807", "-9223372036854775808", "1e400", "0.5",
        "18446744073709551615", "null", "[]", "{}", "\"\"", "[[[[", "true", "\"f32\"", "\"../x.shard\"",
    ]

    private static func mutate(_ bytes: inout [UInt8], _ generator: inout SplitMix) {
        guard !bytes.isEmpty else { return bytes.append(UInt8.random(in: 0...255, using: &generator)) }
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        switch Int.random(in: 0..<7, using: &generator) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 1: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        case 2: bytes.removeSubrange(place...)
        case 3: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...20, using: &generator)))
        case 4:
            let part = bytes[place..<min(bytes.count, place + Int.random(in: 1...60, using: &generator))]
            bytes.insert(contentsOf: Array(part), at: Int.random(in: 0...bytes.count, using: &generator))
        case 5: bytes.insert(contentsOf: numbers.randomElement(using: &generator)!.utf8, at: place)
        default:
            // A number of the JSON becomes another.
            let isDigit = { (byte: UInt8) in byte >= 48 && byte <= 57 }
            guard let start = bytes[place...].firstIndex(where: isDigit) else { return }
            let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
            bytes.replaceSubrange(start..<end, with: numbers.randomElement(using: &generator)!.utf8)
        }
    }

    private static func withRepairedDigest(_ bytes: [UInt8]) -> [UInt8] {
        let prefix = 77
        guard bytes.count > prefix else { return bytes }
        return Array("{\"sha256\":\"\(SHA256.hexDigest(bytes[prefix...]))\",".utf8) + bytes[prefix...]
    }
}

/// A file system that holds one file.
private struct OneFile: FileSystem {
    private let file: Contents

    init(_ bytes: [UInt8]) { file = Contents(bytes) }

    private final class Contents: ReadableFile {
        let bytes: [UInt8]
        var byteCount: Int { bytes.count }

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileSystemError) -> Int {
            let part = bytes.dropFirst(offset).prefix(buffer.count)
            buffer.copyBytes(from: part)
            return part.count
        }
    }

    func open(_ path: String) throws(FileSystemError) -> any ReadableFile { file }
    func createDirectory(_ path: String) throws(FileSystemError) {}
    func list(_ directory: String) throws(FileSystemError) -> [String] { [] }
    func create(_ path: String) throws(FileSystemError) -> any WritableFile {
        throw FileSystemError("create", path, EROFS)
    }
    func rename(_ path: String, to newPath: String) throws(FileSystemError) {}
    func removeFile(_ path: String) throws(FileSystemError) {}
    func removeDirectory(_ path: String) throws(FileSystemError) {}
    func synchronize(directory: String) throws(FileSystemError) {}
}
