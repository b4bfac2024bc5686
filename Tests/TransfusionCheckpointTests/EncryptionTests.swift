import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

@Suite struct EncryptionTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        for (name, digit) in [("key", "a"), ("other", "b")] {
            try Data((String(repeating: digit, count: 64) + "\n").utf8)
                .write(to: URL(fileURLWithPath: directory.file(name)))
        }
    }

    private func store(key: String?, level: Int? = nil) -> CheckpointStore {
        CheckpointStore(
            directory.file("checkpoints"),
            options: CheckpointOptions(
                compressionLevel: level, chunkBytes: 64, threads: 2, keyFile: key.map(directory.file)))
    }

    @Test(arguments: [nil, 1]) func onlyTheKeyOpensIt(_ level: Int?) throws {
        let text = Array("a secret that must not be found in the file, 64 bytes of it ....".utf8)
        let box = TensorBox(name: "w", type: .u8, shape: [text.count])
        let pieces =
            SyntheticState.small.pieces() + [
                text.withUnsafeBytes { bytes in
                    let copy = Array(bytes)
                    return ShardPiece(box) { range, memory in memory.copyBytes(from: copy[range]) }
                }
            ]
        try store(key: "key", level: level).save(step: 1, metadata: exampleMetadata, pieces: pieces)
        let shard = try Data(
            contentsOf: URL(fileURLWithPath: directory.file("checkpoints/step-00000001/rank-00000.shard")))
        #expect(shard.range(of: Data("secret".utf8)) == nil)

        let checkpoint = try store(key: "key").open(step: 1)
        for tensor in SyntheticState.small.tensors {
            #expect(try checkpoint.bytes(of: tensor) == SyntheticState.bytes(of: tensor))
        }
        #expect(try checkpoint.bytes(of: box) == text)
        for key in ["other", nil] {
            let locked = try store(key: key).open(step: 1)
            try locked.verify()
            let error = #expect(throws: CheckpointError.self) { _ = try locked.bytes(of: box) }
            #expect(
                error?.problem.hasPrefix(key == nil ? "is encrypted; name" : "is encrypted with another key") == true)
        }
    }

    @Test(arguments: ["", "12", String(repeating: "g", count: 64), String(repeating: "a", count: 65)])
    func whatIsNoKeyIsRefused(_ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: directory.file("bad")))
        let error = #expect(throws: CheckpointError.self) {
            try store(key: "bad").save(step: 1, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        }
        #expect(error?.problem.hasPrefix("holds no key") == true)
        #expect(try store(key: nil).steps().isEmpty)
    }
}
