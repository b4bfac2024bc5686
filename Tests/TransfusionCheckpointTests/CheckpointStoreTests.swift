import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

@Suite struct CheckpointStoreTests {
    @Test(arguments: [nil, 1, 3] as [Int?])
    func whatIsSavedIsRead(_ level: Int?) throws {
        let directory = try TemporaryDirectory()
        let options = CheckpointOptions(compressionLevel: level, chunkBytes: 256, threads: 2)
        let store = CheckpointStore(directory.file("checkpoints"), options: options)
        let saved = try store.save(step: 12, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        #expect(saved.path == directory.file("checkpoints/step-00000012"))
        #expect(try store.steps() == [12])

        let checkpoint = try store.open(step: 12)
        #expect(checkpoint.step == 12)
        #expect(checkpoint.metadata == exampleMetadata)
        #expect(Set(checkpoint.tensors.values) == Set(SyntheticState.small.tensors))
        #expect(checkpoint.tensorBytes == saved.tensorBytes)
        try checkpoint.verify()
        for tensor in SyntheticState.small.tensors {
            #expect(try checkpoint.bytes(of: tensor) == SyntheticState.bytes(of: tensor), "\(tensor.name)")
        }
    }

    @Test func aRunsDirectoryThatWasRemovedIsNotMadeAnew() throws {
        let directory = try TemporaryDirectory()
        let pieces = SyntheticState.small.pieces()
        let store = CheckpointStore(
            directory.file("run/checkpoints"), options: CheckpointOptions(chunkBytes: 256, makesParents: false))
        #expect(throws: CheckpointError.self) { try store.save(step: 1, metadata: exampleMetadata, pieces: pieces) }
        #expect(try POSIXFileSystem().list(directory.path) == [])
        try POSIXFileSystem().createDirectory(directory.file("run"))
        try store.save(step: 1, metadata: exampleMetadata, pieces: pieces)
        #expect(try store.steps() == [1])
    }

    @Test func smoothTensorsBecomeSmaller() throws {
        let directory = try TemporaryDirectory()
        let values = (0..<10_000).map { Float($0) * 1e-5 }
        func storedBytes(_ level: Int?) throws -> Int {
            let store = CheckpointStore(directory.file("\(level ?? 0)"), options: .init(compressionLevel: level))
            let box = TensorBox(name: "w", type: .f32, shape: [100, 100])
            let saved = try values.withUnsafeBytes {
                try store.save(step: 1, metadata: exampleMetadata, pieces: [ShardPiece(box, memory: $0)])
            }
            let read = try store.open(step: 1).bytes(of: box).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
            #expect(read == values)
            return saved.storedBytes
        }
        #expect(try storedBytes(nil) == 40_000)
        #expect(try storedBytes(3) < 30_000)
    }

    @Test func anotherSaveOfTheSameStepReplacesIt() throws {
        let directory = try TemporaryDirectory()
        let store = CheckpointStore(directory.path)
        let box = TensorBox(name: "w", type: .u8, shape: [1])
        for value: UInt8 in [1, 2] {
            try store.save(
                step: 3, metadata: exampleMetadata, pieces: [ShardPiece(box) { _, memory in memory[0] = value }])
        }
        #expect(try store.open(step: 3).bytes(of: box) == [2])
        #expect(try POSIXFileSystem().list(directory.path) == ["step-00000003"])
    }

    @Test func everyElementMustBeThereOnce() throws {
        let directory = try TemporaryDirectory()
        let store = CheckpointStore(directory.path)
        let whole = TensorBox(name: "w", type: .f32, shape: [4, 4])
        func save(_ boxes: [TensorBox]) throws {
            let pieces = boxes.map {
                ShardPiece($0) { _, memory in memory.initializeMemory(as: UInt8.self, repeating: 0) }
            }
            try store.save(step: 1, metadata: exampleMetadata, pieces: pieces)
        }
        let first = whole.boxes(ofFlatRange: 0..<7)
        #expect(
            throws: CheckpointError(directory.file("step-00000001.partial"), "tensor w: 7 of 16 elements are there")
        ) {
            try save(first)
        }
        #expect(throws: CheckpointError.self) { try save(first + whole.boxes(ofFlatRange: 6..<16)) }
        #expect(throws: CheckpointError.self) { try save([whole, whole]) }
        #expect(throws: CheckpointError.self) {
            try save([whole, TensorBox(name: "w", type: .f32, shape: [4, 5])])
        }
        #expect(try POSIXFileSystem().list(directory.path).isEmpty)
        try save(first + whole.boxes(ofFlatRange: 7..<16))
        #expect(try store.steps() == [1])
    }

    @Test func aFailureOfOneRankReachesAll() throws {
        let directory = try TemporaryDirectory()
        let store = CheckpointStore(directory.path)
        try store.save(step: 1, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        struct DiskOnFire: Error {}
        let messages = try ThreadRank.run(3) { collectives in
            var pieces = SyntheticState.small.pieces(rank: collectives.rank, data: 3)
            if collectives.rank == 1 {
                pieces.append(ShardPiece(TensorBox(name: "x", type: .u8, shape: [1])) { _, _ in throw DiskOnFire() })
            }
            do {
                try store.save(step: 2, metadata: exampleMetadata, pieces: pieces, collectives: collectives)
                return ""
            } catch {
                return "\(error)"
            }
        }
        let message = directory.file("step-00000002.partial/rank-00001.shard: cannot be written: DiskOnFire() (rank 1)")
        #expect(messages == [message, message, message])
        #expect(try store.steps() == [1])
        #expect(try POSIXFileSystem().list(directory.path) == ["step-00000001"])
    }

    @Test func tensorsThatAreNotAsExpectedAreRefusedByName() throws {
        let directory = try TemporaryDirectory()
        let store = CheckpointStore(directory.path)
        try store.save(step: 1, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        let checkpoint = try store.open(step: 1)
        var expected = checkpoint.tensors.mapValues(\.globalShape)
        try checkpoint.require(expected)
        expected["scale"] = nil
        #expect(throws: CheckpointError(checkpoint.path, "has unknown tensors: scale")) {
            try checkpoint.require(expected)
        }
        try checkpoint.require(expected) { $0 != "scale" }
        expected["scale"] = [2]
        #expect(
            throws: CheckpointError(checkpoint.path, "tensor scale has the shape [], not the expected [2]")
        ) { try checkpoint.require(expected) }
        expected["other"] = [2]
        #expect(throws: CheckpointError(checkpoint.path, "has no tensor other")) { try checkpoint.require(expected) }
        #expect(throws: CheckpointError(checkpoint.path, "has no tensor lost")) {
            _ = try checkpoint.bytes(of: TensorBox(name: "lost", type: .f32, shape: [1]))
        }
        #expect(throws: CheckpointError(checkpoint.path, "tensor scale has elements of f32, not bf16")) {
            _ = try checkpoint.bytes(of: TensorBox(name: "scale", type: .bf16, shape: []))
        }
    }
}
