import Foundation
import Synchronization
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

@Suite struct CheckpointSaverTests {
    private let directory: TemporaryDirectory
    private let store: CheckpointStore

    init() throws {
        directory = try TemporaryDirectory()
        store = CheckpointStore(directory.path, options: .init(chunkBytes: 64, threads: 2))
    }

    /// What a saver reported, in words.
    private final class Events {
        var lines: [String] = []

        func add(_ event: SaveEvent) {
            switch event {
            case .saved(let report): lines.append("saved \(report.saved.step) removed \(report.removed)")
            case .failed(let step, let error): lines.append("failed \(step): \(error.problem)")
            case .skipped(let step): lines.append("skipped \(step)")
            }
        }
    }

    /// The memory of the pieces may change as soon as `save` returns; the checkpoint holds what was there before.
    @Test func savesWhatWasThere() throws {
        let events = Events()
        let saver = CheckpointSaver(store, report: events.add)
        var weights = (0..<500).map(Float.init)
        let box = TensorBox(name: "w", type: .f32, shape: [20, 25])
        for step in 1...3 {
            try weights.withUnsafeMutableBufferPointer { buffer in
                let piece = ShardPiece(box, memory: UnsafeRawBufferPointer(buffer))
                if step == 1 { try saver.prepare(for: [piece]) }
                try saver.save(step: step, metadata: exampleMetadata, pieces: [piece])
                for index in buffer.indices { buffer[index] += 1000 }
            }
        }
        #expect(saver.lastSavedStep == 2)
        try saver.finish()
        #expect(events.lines == ["saved 1 removed []", "saved 2 removed []", "saved 3 removed []"])
        #expect(saver.lastSavedStep == 3)
        for step in 1...3 {
            let values = try store.open(step: step).bytes(of: box).withUnsafeBytes {
                Array($0.bindMemory(to: Float.self))
            }
            #expect(values == (0..<500).map { Float($0 + 1000 * (step - 1)) })
        }
    }

    @Test func aSecondSaveIsSkippedWhileOneIsWritten() throws {
        let files = GatedFileSystem()
        let store = CheckpointStore(directory.path, options: .init(chunkBytes: 64, threads: 2), fileSystem: files)
        let events = Events()
        let saver = CheckpointSaver(store, whenBusy: .skip, report: events.add)
        let pieces = SyntheticState.small.pieces()
        files.close()
        try saver.save(step: 1, metadata: exampleMetadata, pieces: pieces)
        try saver.save(step: 2, metadata: exampleMetadata, pieces: pieces)
        try saver.poll()
        #expect(events.lines == ["skipped 2"])
        #expect(try store.steps().isEmpty)
        files.open()
        try saver.finish()
        try saver.finish()
        #expect(events.lines == ["skipped 2", "saved 1 removed []"])
    }

    @Test(arguments: [true, false]) func aFailureIsReportedToAllRanksAndTheNextSaveWorks(_ asynchronous: Bool) throws {
        let store = store
        let events = try ThreadRank.run(3) { collectives in
            let events = Events()
            let saver = CheckpointSaver(
                store, collectives: collectives, asynchronous: asynchronous, report: events.add)
            for step in 1...3 {
                var pieces = SyntheticState.small.pieces(rank: collectives.rank, data: 3)
                if step == 2, collectives.rank == 2 { pieces.removeFirst() }
                try saver.save(step: step, metadata: exampleMetadata, pieces: pieces)
                try saver.poll()
            }
            try saver.finish()
            return events.lines
        }
        for lines in events {
            #expect(lines.count == 3)
            #expect(lines.first == "saved 1 removed []")
            #expect(lines.dropFirst().first?.hasPrefix("failed 2: tensor ") == true)
            #expect(lines.last == "saved 3 removed []")
        }
        #expect(try store.steps() == [1, 3])
    }

    @Test func retentionKeepsTheLastAndEveryTenth() throws {
        let events = Events()
        do {
            let saver = CheckpointSaver(store, retention: .init(last: 2, every: 10), report: events.add)
            for step in stride(from: 5, through: 30, by: 5) {
                try saver.save(step: step, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
                try saver.finish()
            }
        }
        #expect(try store.steps() == [10, 20, 25, 30])
        #expect(events.lines.suffix(2) == ["saved 25 removed [15]", "saved 30 removed []"])
        #expect(try POSIXFileSystem().list(directory.path).count == 4)
    }

    /// However many are kept: ranks wait while retention looks.
    @Test func retentionOpensNoCheckpoint() throws {
        let opened = Mutex<[String]>([])
        let files = HookedFileSystem(onOpen: { path in opened.withLock { $0.append(path) } })
        let events = Events()
        do {
            let saver = CheckpointSaver(
                CheckpointStore(directory.path, options: .init(threads: 1), fileSystem: files),
                retention: .init(last: 2, every: 2), report: events.add)
            for step in 1...20 {
                try saver.save(step: step, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
                try saver.finish()
            }
        }
        #expect(events.lines.count == 20 && events.lines.allSatisfy { $0.hasPrefix("saved") })
        #expect(try store.steps() == Array(stride(from: 2, through: 18, by: 2)) + [19, 20])
        #expect(opened.withLock(\.self) == [])
    }

    /// Here the old checkpoint is slow to get out of the way, after everything was written.
    @Test func theStallIsAllThatRanksWaitFor() throws {
        let files = HookedFileSystem(onRename: { if $0.hasSuffix(".trash") { Thread.sleep(forTimeInterval: 0.2) } })
        let stalls = Mutex<[Double]>([])
        let saver = CheckpointSaver(
            CheckpointStore(directory.path, fileSystem: files), retention: .init(last: 1)
        ) { event in
            if case .saved(let report) = event { stalls.withLock { $0.append(report.stallSeconds) } }
        }
        for step in [1, 2] {
            try saver.save(step: step, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
            try saver.finish()
        }
        #expect(stalls.withLock { $0.count == 2 && $0[1] >= 0.2 })
    }

    /// What is newer than what was just saved is not counted among those that make it outdated.
    @Test func whatWasJustSavedStays() throws {
        for step in [40, 50, 60] {
            try store.save(step: step, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        }
        let events = Events()
        do {
            let saver = CheckpointSaver(store, retention: .init(last: 1), report: events.add)
            for step in [25, 30] {
                try saver.save(step: step, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
                try saver.finish()
            }
        }
        #expect(events.lines == ["saved 25 removed []", "saved 30 removed [25]"])
        #expect(try store.steps() == [30, 40, 50, 60])
    }

    /// After going back a step can be outdated for the second time while the trash of the first is still there.
    @Test func aStepIsRemovedAgainAlthoughItsTrashIsThere() throws {
        for _ in 0..<2 {
            for step in [1, 2] {
                try store.save(step: step, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
            }
            #expect(try store.removeOutdated(.init(last: 1)) == [1])
        }
        #expect(try store.steps() == [2])
    }

    @Test func theOnlyGoodCheckpointStays() throws {
        for step in [1, 2, 3] {
            try store.save(step: step, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        }
        for step in [2, 3] {
            try Data([1]).write(to: URL(fileURLWithPath: directory.file("step-0000000\(step)/manifest.json")))
        }
        #expect(try store.removeOutdated(.init(last: 0)).isEmpty)
        #expect(try store.steps() == [1, 2, 3])
        try store.save(step: 4, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        #expect(try store.removeOutdated(.init(last: 1)) == [1])
        #expect(try store.steps() == [2, 3, 4])
        store.emptyTrash()
        #expect(try POSIXFileSystem().list(directory.path).count == 3)
    }
}
