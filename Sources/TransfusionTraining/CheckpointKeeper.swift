internal import Foundation
internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionParallel
internal import TransfusionSupport
internal import TransfusionTelemetry

/// Decides when a run saves, saves, and finds what to continue from.
final class CheckpointKeeper {
    private let settings: RunConfiguration.Checkpoint
    private let schedule: RunConfiguration.Schedule
    private let directory: RunDirectory
    private let store: CheckpointStore
    private let saver: CheckpointSaver
    private let group: any Collectives
    /// How many ranks there are of each kind.
    private let layout: [String: Int]
    private let log: (String) -> Void
    private var lastSave = ContinuousClock.now
    private var lastAttempt: Int?
    private var resumedFrom: Int?
    private let onWait: (FailureRecord?) -> Void

    init(
        _ settings: RunConfiguration.Checkpoint, _ schedule: RunConfiguration.Schedule, directory: RunDirectory,
        _ resources: TrainingResources,
        log: @escaping (String) -> Void, onWait: @escaping (FailureRecord?) -> Void,
        report: @escaping (SaveEvent) -> Void
    ) {
        self.settings = settings
        self.schedule = schedule
        self.directory = directory
        self.onWait = onWait
        group = resources.group
        layout = resources.layout
        self.log = log
        store = CheckpointStore(
            directory.checkpoints,
            options: CheckpointOptions(
                compressionLevel: settings.compression, keyFile: settings.encryptionKeyFile, makesParents: false))
        var lastLine: String?
        saver = CheckpointSaver(
            store, collectives: resources.group,
            retention: Retention(last: settings.keepLast, every: settings.keepEvery),
            asynchronous: settings.asynchronous, whenBusy: settings.whenBusy == .skip ? .skip : .wait
        ) { event in
            // A save that is tried again and again fails in the same words.
            let line = Self.line(event)
            if line != lastLine { log(line) }
            lastLine = line
            report(event)
        }
    }

    /// Refuses settings with which nothing could be saved, or begun; every rank calls it before the run's directory is made.
    func check(_ resume: TrainingOptions.Resume, _ task: some RunTask) throws {
        try group.agree("checkpoint settings") {
            try store.options.checkKey()
            if case .from(let path) = resume {
                _ = try CheckpointLocation(path, options: store.options).newest()
                return
            }
            guard let weights = task.initialWeights, try store.steps().isEmpty else { return }
            try task.checkInitialWeights(weights, options: store.options)
        }
    }

    /// Refuses a run that its own newest checkpoint does not belong to; rank 0 calls it before it changes the directory.
    func checkNewest(_ resume: TrainingOptions.Resume, _ task: some RunTask) throws {
        // One that cannot be read is passed over later, or its damage told.
        guard resume == .automatic, let step = try store.steps().last, let newest = try? store.open(step: step) else {
            return
        }
        try task.check(newest, isOfRun: true)
    }

    /// Fills the state of a run that begins: from another model when the configuration names one, else from the seed.
    /// - Returns: What to tell a person, when weights come from elsewhere.
    func begin(_ task: some RunTask) throws -> String? {
        var report: String?
        let path = try task.initialWeights.map(choose)
        try group.agree("initial weights") { report = try task.begin(from: path, options: store.options) }
        return report
    }

    /// Gets the memory that saving beside training needs, while the first steps go on.
    func prepare(for state: TrainingState) throws {
        try group.agree("memory for checkpoints") { try saver.prepare(for: state.pieces()) }
    }

    /// What the run shall continue from; nil to begin. A run that has lost all of its checkpoints does not begin anew by
    /// itself: days of training are not thrown away unasked.
    func find(_ resume: TrainingOptions.Resume) throws -> Checkpoint? {
        switch resume {
        case .automatic:
            let checkpoint = try store.newestVerified(collectives: group) { log($0.description) }
            try group.agree("resume") {
                guard checkpoint == nil else { return }
                if let damaged = try store.damagedNames().last {
                    throw CommandFailure(
                        "\(store.directory): every checkpoint of the run is damaged (the newest is now \(damaged)); to begin "
                            + "anew, remove them or take another run directory")
                }
                if let aside = try store.aside().last {
                    throw CommandFailure(
                        "\(store.directory): every checkpoint of the run was put aside; name the one to resume from, as in "
                            + aside.path)
                }
            }
            return checkpoint
        case .never:
            try group.agree("resume") {
                guard let newest = try store.steps().last else { return }
                throw CommandFailure(
                    "\(store.directory): the run has a checkpoint of step \(newest); "
                        + "resume from it, or choose another run directory", .wrongUse)
            }
            return nil
        case .from(let path):
            let chosen = try choose(path)
            var checkpoint: Checkpoint?
            try group.agree("resume") {
                let opened = try CheckpointLocation(chosen, options: store.options).newest()
                try opened.verify()
                checkpoint = opened
            }
            return checkpoint
        }
    }

    /// The one checkpoint that is meant where a run is named, the same for all ranks: each by itself might find another while
    /// that run goes on.
    private func choose(_ path: String) throws -> String {
        var chosen = path
        try group.agree("newest checkpoint") {
            guard group.rank == 0, try WeightFormat(detectedAt: path) == .checkpoint else { return }
            chosen = try CheckpointLocation(path, options: store.options).newest().path
        }
        return String(
            decoding: try group.broadcast(Array(chosen.utf8), root: 0, site: "newest checkpoint"), as: UTF8.self)
    }

    /// Fills the state from a checkpoint, after checking that the two belong together.
    func load(_ checkpoint: Checkpoint, into state: TrainingState, _ task: some RunTask) throws {
        try group.agree("loading") {
            try task.check(checkpoint, isOfRun: store.holds(checkpoint))
            try state.load(checkpoint)
        }
        resumedFrom = state.step
        lastAttempt = state.step
        lastSave = .now
    }

    /// Makes a checkpoint that was loaded the one that the run goes on from: what the run has done beyond it, or without it, is
    /// put aside.
    /// - Returns: The last step whose records belong to what the run goes on from.
    func leaveOtherBranches(of checkpoint: Checkpoint) throws -> Int {
        var lastStep = 0
        try group.agree("going back") {
            // Before anything is renamed.
            lastStep = store.holds(checkpoint) ? checkpoint.step : 0
            guard group.rank == 0 else { return }
            if let branch = try LeftBranch(goingOnFrom: checkpoint, store: store, directory: directory) {
                log(try branch.putAside())
            }
        }
        return lastStep
    }

    /// Whether the configuration wants a checkpoint after this step. All ranks get the same answer.
    func isDue(after step: Int) throws -> Bool {
        if let every = settings.everySteps, step % every == 0 { return true }
        guard let minutes = settings.everyMinutes else { return false }
        // One clock decides.
        let isDue = group.rank == 0 && (ContinuousClock.now - lastSave) / .seconds(60) >= minutes
        return try group.any(isDue, site: "checkpoint clock")
    }

    /// Saves the state, or begins to.
    ///
    /// A save that fails leaves the checkpoints before it, and training goes on, unless this one is the last.
    func save(_ state: TrainingState, _ task: some RunTask, isLast: Bool) throws {
        if lastAttempt != state.step {
            lastAttempt = state.step
            lastSave = .now
            // Whatever is done with the others, this one is not skipped.
            if isLast { try saver.finish() }
            try saver.save(step: state.step, metadata: try metadata(state, task), pieces: state.pieces())
        }
        guard isLast else { return }
        try saver.finish()
        try waitUntilSaved(state, task)
        guard resumedFrom == state.step || saver.lastSavedStep == state.step else {
            throw SharedFailure(
                failure: CommandFailure(
                    "\(store.directory): the last checkpoint, of step \(state.step), could not be saved"
                        + (saver.lastFailure.map { " (\($0))" } ?? "")
                        + "; training goes on from the one before when it is started again",
                    record: saver.lastFailure?.record))
        }
    }

    /// Saves the state in the directory of another run, at once.
    func save(_ state: TrainingState, _ task: some RunTask, elsewhere directory: RunDirectory) throws {
        try CheckpointStore(directory.checkpoints, options: store.options).save(
            step: state.step, metadata: try metadata(state, task), pieces: state.pieces(), collectives: group)
    }

    /// Tries again to save the last step as long as that is impossible for a reason that may pass: the steps since the
    /// checkpoint before would be lost.
    private func waitUntilSaved(_ state: TrainingState, _ task: some RunTask) throws {
        let begin = ContinuousClock.now
        var pause = 0.5
        while saver.lastSavedStep != state.step, let obstacle = saver.lastFailure?.record,
            obstacle.kind == .noRoom || obstacle.kind == .inputOutput
        {
            // One clock decides.
            let isOver = group.rank == 0 && (ContinuousClock.now - begin) / .seconds(1) >= settings.waitToSave
            if try group.any(isOver, site: "waiting to save") { break }
            if pause == 0.5 {
                log(
                    "warning: the last step stays in memory until it can be saved, for \(Int(settings.waitToSave)) s at most"
                )
            }
            onWait(obstacle)
            pause = min(Self.longestPause, 2 * pause)
            usleep(UInt32(pause * 1e6))
            try saver.save(step: state.step, metadata: try metadata(state, task), pieces: state.pieces())
            try saver.finish()
        }
        onWait(nil)
    }

    /// Between two tries to save the last step, in seconds.
    private static let longestPause = 20.0

    /// Commits a save that has been written meanwhile. Every rank calls it after every step.
    func poll() throws {
        try saver.poll()
    }

    private static func line(_ event: SaveEvent) -> String {
        switch event {
        case .saved(let report):
            let megabytes = Double(report.saved.storedBytes) / 1e6
            return "saved step \(report.saved.step): \(String(format: "%.1f", megabytes)) MB in "
                + "\(String(format: "%.2f", report.writeSeconds)) s, training stood still for "
                + "\(String(format: "%.2f", report.stallSeconds)) s"
        case .failed(let step, let error):
            return "warning: the checkpoint of step \(step) could not be saved: \(error); the ones before it are intact"
        case .skipped(let step):
            return "warning: no checkpoint of step \(step): the one before is still being written"
        }
    }

    private func metadata(_ state: TrainingState, _ task: some RunTask) throws -> CheckpointMetadata {
        try task.metadata(
            layout: layout, counters: state.counters.merging([ScheduleChange.scalarName: schedule.json]) { $1 })
    }
}
