internal import Glibc
public import TransfusionCore

/// What came of a save. Every rank gets the same events.
public enum SaveEvent: Sendable {
    /// The checkpoint is safe.
    case saved(SaveReport)
    /// There is no checkpoint of this step; the ones before are untouched, and training can go on.
    case failed(step: Int, CheckpointError)
    /// The save before was still being written.
    case skipped(step: Int)
}

/// What a save wrote, and what it cost.
public struct SaveReport: Sendable, Equatable {
    public let saved: SavedCheckpoint
    /// How long training stood still, all in all: until its state was copied, while it waited for the files where it had
    /// to, and for the commit and retention.
    public let stallSeconds: Double
    /// From the beginning of the save until its files were written.
    public let writeSeconds: Double
    /// Steps whose checkpoints were removed because newer ones suffice.
    public let removed: [Int]
}

/// Saves checkpoints while training goes on.
///
/// `save` copies this rank's pieces into a buffer and returns; a thread writes them. Ranks talk to each other only
/// inside `save`, `poll` and `finish`, which every rank calls at the same places of the training loop: there the
/// checkpoint is committed. What is written but not yet polled does not count.
public final class CheckpointSaver {
    /// What a save does while the one before is unfinished.
    public enum WhenBusy: String, Sendable, CaseIterable {
        case wait
        case skip
    }

    /// The newest step that this saver has brought to safety.
    public private(set) var lastSavedStep: Int?
    /// Why the newest save failed, if it did.
    public private(set) var lastFailure: CheckpointError?

    private let store: CheckpointStore
    private let collectives: any Collectives
    private let retention: Retention?
    private let asynchronous: Bool
    private let whenBusy: WhenBusy
    private let report: (SaveEvent) -> Void
    private var staging: StagingBuffer?
    private var populating: WorkerThread?
    private var deleting: WorkerThread?
    /// How often the thread that deletes has still to look for something; 0 when there is none.
    private let emptying = Monitor(0)
    private var pending: PendingSave?

    /// - Parameters:
    ///   - retention: What is removed after each save; `nil` keeps everything.
    ///   - report: Called from `save`, `poll` and `finish` with what came of each save.
    public init(
        _ store: CheckpointStore, collectives: any Collectives = SingleRank(), retention: Retention? = nil,
        asynchronous: Bool = true, whenBusy: WhenBusy = .wait, report: @escaping (SaveEvent) -> Void
    ) {
        self.store = store
        self.collectives = collectives
        self.retention = retention
        self.asynchronous = asynchronous
        self.whenBusy = whenBusy
        self.report = report
    }

    deinit {
        // A save that nobody waits for any more ends at its next chunk.
        pending?.isAbandoned.update { $0 = true }
    }

    /// Gets the staging memory for pieces like these in the background, so that the first save need not wait for it.
    public func prepare(for pieces: [ShardPiece]) throws {
        guard asynchronous else { return }
        let staging = try self.staging(for: pieces.map(\.box))
        populating = try WorkerThread { staging.populate() }
    }

    /// Waits for the memory that `prepare` gets.
    package func finishPreparing() {
        populating?.join()
        populating = nil
    }

    /// Saves a checkpoint, or begins to. The memory of the pieces may change as soon as this returns.
    /// - Throws: Only when the ranks cannot talk to each other; what else goes wrong is reported.
    public func save(step: Int, metadata: CheckpointMetadata, pieces: [ShardPiece]) throws {
        if pending != nil, whenBusy == .skip, try !isWrittenEverywhere() { return report(.skipped(step: step)) }
        try finish()
        let begin = ContinuousClock.now
        do {
            try store.begin(step: step, collectives)
        } catch let error as CheckpointError {
            return fail(step, error)
        }
        let pending = start(PendingSave(step: step, metadata: metadata, begin: begin), pieces)
        pending.stallSeconds = begin.duration(to: .now).seconds
        self.pending = pending
        if !asynchronous { try finish() }
    }

    /// Commits a save that all ranks have written meanwhile. Costs nothing while no save is pending.
    public func poll() throws {
        if pending != nil, try isWrittenEverywhere() { try finish() }
    }

    /// Waits for the pending save, if there is one, and commits it.
    public func finish() throws {
        guard let pending else { return }
        self.pending = nil
        let begin = ContinuousClock.now
        let (outcome, end) = pending.written.wait { $0 }
        do {
            let saved = try store.commit(step: pending.step, metadata: pending.metadata, outcome, collectives)
            lastSavedStep = saved.step
            lastFailure = nil
            let removed = try removeOutdated(after: saved.step)
            report(
                .saved(
                    SaveReport(
                        saved: saved, stallSeconds: pending.stallSeconds + begin.duration(to: .now).seconds,
                        writeSeconds: pending.begin.duration(to: end).seconds, removed: removed)))
        } catch let error as CheckpointError {
            fail(pending.step, error)
        }
    }

    private func fail(_ step: Int, _ error: CheckpointError) {
        lastFailure = error
        report(.failed(step: step, error))
    }

    private func isWrittenEverywhere() throws -> Bool {
        guard let pending else { return true }
        let unfinished = pending.written.update { $0 == nil }
        return try !collectives.any(unfinished, site: "checkpoint.poll")
    }

    /// Stages the pieces and lets a thread write them. What goes wrong on this rank becomes the outcome of the save, so
    /// that the commit can tell the others.
    private func start(_ save: PendingSave, _ pieces: [ShardPiece]) -> PendingSave {
        let pieces = pieces.filter { $0.box.count > 0 }
        let boxes = pieces.map(\.box)
        let chunks = ShardWriter.chunks(of: boxes, chunkBytes: store.options.chunkBytes)
        let (store, step, rank, written) = (store, save.step, collectives.rank, save.written)
        let isAbandoned = save.isAbandoned
        struct Abandoned: Error {}
        guard asynchronous else {
            save.complete { try store.writeShard(step: step, rank: rank, pieces) }
            return save
        }
        do {
            let staging = try self.staging(for: boxes)
            let offsets = chunks.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.range.count) }
            @Sendable func place(_ index: Int) -> UnsafeMutableRawBufferPointer {
                UnsafeMutableRawBufferPointer(rebasing: staging.memory[offsets[index]..<offsets[index + 1]])
            }
            // Before the writer begins: training waits for the copy, and the writer would take processors from it.
            try Pipeline.run(count: chunks.count, threads: store.options.threads) { index in
                let chunk = chunks[index]
                try pieces[chunk.piece].fill(place(index), with: chunk.range)
            } consume: { _, _ in
            }
            save.thread = try WorkerThread {
                // On Linux the priority is that of this thread and of those that it starts: training goes first.
                setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
                let result = Result {
                    try store.writeShard(step: step, rank: rank, boxes, chunks) { index in
                        if isAbandoned.update({ $0 }) { throw Abandoned() }
                        return .memory(UnsafeRawBufferPointer(place(index)))
                    }
                }
                written.update { $0 = (result, .now) }
            }
        } catch {
            save.complete { throw error }
        }
        return save
    }

    /// The buffer for a share of the given boxes, kept from save to save.
    private func staging(for boxes: [TensorBox]) throws -> StagingBuffer {
        finishPreparing()
        // A rank without a piece has a byte all the same: no mapping is empty.
        let capacity = max(1, boxes.reduce(0) { $0 + $1.byteCount })
        if let staging, staging.memory.count >= capacity { return staging }
        staging = nil  // Its memory is free before the larger one is taken.
        let new = try StagingBuffer(capacity: capacity)
        staging = new
        return new
    }

    /// The new checkpoint is safe: that an old one could not be removed is no failure of the save.
    private func removeOutdated(after saved: Int) throws -> [Int] {
        guard let retention else { return [] }
        let removed = try store.broadcast(collectives) {
            (try? store.removeOutdated(retention, after: saved)) ?? []
        }
        if collectives.rank == 0, !removed.isEmpty { emptyTrash() }
        return removed
    }

    /// Frees the space of what was removed, beside training.
    private func emptyTrash() {
        // The thread that is at it, if there is one, looks once more before it ends.
        let isAtWork = emptying.update { rounds in
            defer { rounds = rounds > 0 ? 2 : 1 }
            return rounds > 0
        }
        guard !isAtWork else { return }
        let (store, emptying) = (store, emptying)
        deleting = try? WorkerThread {
            repeat {
                store.emptyTrash()
            } while emptying.update { rounds in
                rounds -= 1
                return rounds > 0
            }
        }
        if deleting == nil { emptying.update { $0 = 0 } }
    }
}

/// A save between its beginning and its commit.
private final class PendingSave {
    let step: Int
    let metadata: CheckpointMetadata
    let begin: ContinuousClock.Instant
    var stallSeconds = 0.0
    var thread: WorkerThread?
    /// Whether nobody waits for it any more.
    let isAbandoned = Monitor(false)
    /// What this rank has written, and when it was done.
    let written = Monitor<(Result<[ShardTable], any Error>, ContinuousClock.Instant)?>(nil)

    init(step: Int, metadata: CheckpointMetadata, begin: ContinuousClock.Instant) {
        self.step = step
        self.metadata = metadata
        self.begin = begin
    }

    /// Does the work of this rank on the calling thread.
    func complete(_ body: () throws -> [ShardTable]) {
        let result = Result { try body() }
        written.update { $0 = (result, .now) }
    }
}

extension Duration {
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
