import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

/// Damaged checkpoints are found, said and put aside, and the one before is used.
@Suite struct RecoveryTests {
    private let directory: TemporaryDirectory
    private let store: CheckpointStore

    init() throws {
        directory = try TemporaryDirectory()
        store = CheckpointStore(directory.path, options: .init(compressionLevel: 1, chunkBytes: 512, threads: 2))
        for step in [1, 2] {
            try store.save(step: step, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        }
    }

    private var shard: URL { URL(fileURLWithPath: directory.file("step-00000002/rank-00000.shard")) }
    private var manifest: URL { URL(fileURLWithPath: directory.file("step-00000002/manifest.json")) }

    /// Recovery must skip step 2 with a message that contains `text`.
    private func expectFallback(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        var skipped: [SkippedCheckpoint] = []
        let found = try store.newestVerified { skipped.append($0) }
        #expect(found?.step == 1, sourceLocation: sourceLocation)
        #expect(skipped.map(\.step) == [2], sourceLocation: sourceLocation)
        #expect(skipped.first?.problem.contains(text) == true, "\(skipped)", sourceLocation: sourceLocation)
        #expect(skipped.first?.putAside == "step-00000002.corrupt", sourceLocation: sourceLocation)
        #expect(try store.steps() == [1], sourceLocation: sourceLocation)
        #expect(try store.newestVerified { _ in Issue.record("skipped twice") }?.step == 1)
    }

    @Test func theNewestIsTaken() throws {
        #expect(try store.newestVerified { Issue.record("\($0)") }?.step == 2)
    }

    @Test func nothingIsThereAtFirst() throws {
        let empty = CheckpointStore(directory.file("elsewhere"))
        #expect(try empty.newestVerified { Issue.record("\($0)") } == nil)
        #expect(try empty.steps().isEmpty)
    }

    @Test func aTruncatedShard() throws {
        let contents = try Data(contentsOf: shard)
        try contents.dropLast().write(to: shard)
        try expectFallback("has \(contents.count - 1) bytes; the manifest says \(contents.count)")
    }

    @Test func aMissingShard() throws {
        try FileManager.default.removeItem(at: shard)
        try expectFallback("rank-00000.shard: is missing")
    }

    @Test func anExtraShard() throws {
        try Data([1]).write(to: URL(fileURLWithPath: directory.file("step-00000002/rank-00009.shard")))
        try expectFallback("rank-00009.shard: does not belong to the checkpoint")
    }

    @Test func aHiddenFileDoesNoHarm() throws {
        try Data([1]).write(to: URL(fileURLWithPath: directory.file("step-00000002/.nfs000123")))
        #expect(try store.newestVerified { Issue.record("\($0)") }?.step == 2)
    }

    /// Good checkpoints are not given up because they cannot be read at the moment.
    @Test(arguments: [EACCES, EIO, EMFILE, ESTALE])
    func aCheckpointThatCannotBeReadIsLeftAlone(_ code: Int32) throws {
        let locked = CheckpointStore(
            directory.path, fileSystem: LockedFileSystem(lockedName: "step-00000002/rank-00000.shard", code: code))
        let messages = try ThreadRank.run(2) { collectives in
            do {
                _ = try locked.newestVerified(collectives: collectives) { _ in }
                return "no error"
            } catch {
                return "\(error)"
            }
        }
        for message in messages {
            #expect(message.contains("rank-00000.shard: cannot open: \(String(cString: strerror(code)));"))
            #expect(message.contains("may be good, so it is left alone"))
        }
        #expect(try store.newestVerified { Issue.record("\($0)") }?.step == 2)
    }

    @Test func aMissingManifest() throws {
        try FileManager.default.removeItem(at: manifest)
        try expectFallback("manifest.json: cannot open: No such file or directory")
    }

    @Test func anEmptyManifest() throws {
        try Data().write(to: manifest)
        try expectFallback("does not begin with its SHA-256")
    }

    @Test func anEditedManifest() throws {
        let text = try String(contentsOf: manifest, encoding: .utf8)
        try text.replacingOccurrences(of: "\"step\":2", with: "\"step\":3")
            .write(to: manifest, atomically: false, encoding: .utf8)
        try expectFallback("does not match its own SHA-256")
    }

    /// Days of training are not done again because somebody went back to an older transfusion.
    @Test(arguments: [false, true]) func aCheckpointOfTheFutureIsLeftAlone(_ beginsWithDigest: Bool) throws {
        let rest = #""format":"transfusion-checkpoint","version":2,"elsewhere":true}"#
        let digest = SHA256.hexDigest(Array(rest.utf8))
        try Data((beginsWithDigest ? #"{"sha256":"\#(digest)",\#(rest)"# : "{\(rest)").utf8).write(to: manifest)
        let store = store
        let messages = try ThreadRank.run(2) { collectives in
            do {
                _ = try store.newestVerified(collectives: collectives) { _ in }
                return "no error"
            } catch {
                return "\(error)"
            }
        }
        for message in messages {
            #expect(message.hasPrefix(manifest.path + ": has format version 2, newer than the 1 known here; "))
            #expect(message.contains("go on with the newer transfusion"))
        }
        #expect(try store.steps() == [1, 2])
    }

    @Test func aVersionThatDamageMade() throws {
        let text = try String(contentsOf: manifest, encoding: .utf8)
        try text.replacingOccurrences(of: "\"version\":1", with: "\"version\":3")
            .write(to: manifest, atomically: false, encoding: .utf8)
        try expectFallback("does not match its own SHA-256")
    }

    @Test func aDirectoryThatVanishesWhileItIsRead() throws {
        let checkpoint = try store.open(step: 2)
        try FileManager.default.removeItem(atPath: checkpoint.path)
        #expect(throws: FileSystemError.self) { try checkpoint.verify() }
        #expect(throws: FileSystemError.self) { _ = try checkpoint.bytes(of: SyntheticState.small.tensors[0]) }
        #expect(try store.newestVerified { Issue.record("\($0)") }?.step == 1)
    }

    @Test func aReaderThatDoesNotOwnTheRunLeavesItAlone() throws {
        try FileManager.default.removeItem(at: shard)
        var skipped: [SkippedCheckpoint] = []
        #expect(try store.newestVerified(puttingAside: false) { skipped.append($0) }?.step == 1)
        #expect(skipped.map(\.putAside) == [nil])
        #expect(try store.steps() == [1, 2])
    }

    @Test func allRanksAgree() throws {
        var contents = try Data(contentsOf: shard)
        contents[contents.count - 1] ^= 1
        try contents.write(to: shard)
        let store = store
        let found = try ThreadRank.run(3) { collectives in
            var messages: [String] = []
            let step = try store.newestVerified(collectives: collectives) { messages.append($0.description) }?.step
            return (step, messages)
        }
        for (step, messages) in found {
            #expect(step == 1)
            #expect(messages == found[0].1)
            #expect(messages.first?.contains("does not match its SHA-256") == true)
        }
    }

    /// A manifest or shard with any one bit flipped is found, whichever it is.
    @Test func everyFlippedBitIsFound() throws {
        var generator = SplitMix(seed: 42)
        for url in [shard, manifest] {
            let good = try Data(contentsOf: url)
            for _ in 0..<150 {
                var bad = good
                bad[Int.random(in: 0..<good.count, using: &generator)] ^=
                    1 << UInt8.random(in: 0..<8, using: &generator)
                try bad.write(to: url)
                #expect(throws: CheckpointError.self) { try store.open(step: 2).verify() }
                #expect(try store.newestVerified(puttingAside: false) { _ in }?.step == 1)
            }
            try good.write(to: url)
        }
        try store.open(step: 2).verify()
    }
}

/// The operating system's files, of which one cannot be opened.
private struct LockedFileSystem: FileSystem {
    let lockedName: String
    let code: Int32
    private let files = POSIXFileSystem()

    init(lockedName: String, code: Int32) {
        self.lockedName = lockedName
        self.code = code
    }

    func open(_ path: String) throws(FileSystemError) -> any ReadableFile {
        if path.hasSuffix(lockedName) { throw FileSystemError("open", path, code) }
        return try files.open(path)
    }

    func create(_ path: String) throws(FileSystemError) -> any WritableFile { try files.create(path) }
    func createDirectory(_ path: String) throws(FileSystemError) { try files.createDirectory(path) }
    func list(_ directory: String) throws(FileSystemError) -> [String] { try files.list(directory) }
    func rename(_ path: String, to newPath: String) throws(FileSystemError) { try files.rename(path, to: newPath) }
    func removeFile(_ path: String) throws(FileSystemError) { try files.removeFile(path) }
    func removeDirectory(_ path: String) throws(FileSystemError) { try files.removeDirectory(path) }
    func synchronize(directory: String) throws(FileSystemError) { try files.synchronize(directory: directory) }
}

/// A small generator with a seed, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
