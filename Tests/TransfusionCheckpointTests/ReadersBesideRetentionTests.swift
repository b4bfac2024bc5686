import Foundation
import Synchronization
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

/// A run that keeps only its newest checkpoint, and readers that come at any moment of a save.
@Suite struct ReadersBesideRetentionTests {
    private let directory: TemporaryDirectory
    private let store: CheckpointStore
    private static let box = TensorBox(name: "w", type: .f32, shape: [64, 64])

    init() throws {
        directory = try TemporaryDirectory()
        store = CheckpointStore(directory.file("checkpoints"), options: .init(chunkBytes: 1024, threads: 1))
    }

    private static func save(_ step: Int, in store: CheckpointStore) throws {
        let piece = ShardPiece(box) { range, memory in
            memory.copyBytes(from: range.map { _ in UInt8(truncatingIfNeeded: step) })
        }
        try store.save(step: step, metadata: exampleMetadata, pieces: [piece])
        try store.removeOutdated(.init(last: 1))
        store.emptyTrash()
    }

    /// Calls `read` until many checkpoints have come and gone.
    private func besideSaves(_ read: () throws -> Void) throws {
        let steps = 400
        try Self.save(1, in: store)
        let hasEnded = Mutex(false)
        let failure = Mutex<String?>(nil)
        Thread.detachNewThread { [store] in
            do {
                for step in 2...steps { try Self.save(step, in: store) }
            } catch {
                failure.withLock { $0 = "\(error)" }
            }
            hasEnded.withLock { $0 = true }
        }
        var calls = 0
        while !hasEnded.withLock(\.self) {
            try read()
            calls += 1
        }
        #expect(failure.withLock(\.self) == nil)
        #expect(calls > 20)
        try read()
    }

    private func expectWhole(_ checkpoint: Checkpoint) throws {
        let expected = UInt8(truncatingIfNeeded: checkpoint.step)
        #expect(try checkpoint.bytes(of: Self.box).allSatisfy { $0 == expected })
    }

    @Test(.timeLimit(.minutes(2))) func theNewestIsReadToItsEnd() throws {
        try besideSaves { try expectWhole(CheckpointLocation(directory.path).newest()) }
    }

    @Test(.timeLimit(.minutes(2))) func theNewestThatVerifiesIsReadToItsEnd() throws {
        try besideSaves {
            let found = try store.newestVerified(puttingAside: false) { Issue.record("\($0)") }
            try expectWhole(try #require(found))
        }
    }

    @Test(.timeLimit(.minutes(2))) func allAreVerified() throws {
        try besideSaves {
            let location = try CheckpointLocation(directory.path)
            let problems = try location.examine { path -> [CheckpointError]? in
                guard let checkpoint = try? location.open(path) else { return location.isGone(path) ? nil : [] }
                let problems = checkpoint.problems()
                return !problems.isEmpty && location.isGone(path) ? nil : problems
            }
            #expect(!problems.isEmpty && problems.allSatisfy(\.isEmpty), "\(problems)")
        }
    }
}
