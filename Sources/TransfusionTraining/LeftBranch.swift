internal import Foundation
internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionSupport

/// What a run leaves when it goes on from another checkpoint than its newest: everything is kept, under names that end in
/// `aside-K`, and training writes its own in its place.
///
/// The checkpoints are renamed after everything else, and the newest of them last. So whoever starts the run after a crash in
/// between finds the branch that was to be left, with its newest checkpoint and its records, or else the chosen checkpoint as
/// the newest; never one from the middle of the old branch.
struct LeftBranch {
    private let directory: RunDirectory
    private let store: CheckpointStore
    private let steps: [Int]
    /// Pictures of later steps are of the branch.
    private let pointOfDeparture: Int

    /// - Parameter checkpoint: From which the run goes on.
    /// - Returns: nil when nothing is left: the checkpoint is the run's newest, or the run has none.
    init?(goingOnFrom checkpoint: Checkpoint, store: CheckpointStore, directory: RunDirectory) throws {
        self.directory = directory
        self.store = store
        // What comes from elsewhere follows from none of the run's own checkpoints.
        pointOfDeparture = store.holds(checkpoint) ? checkpoint.step : -1
        steps = try store.steps().filter { [pointOfDeparture] in $0 > pointOfDeparture }
        if steps.isEmpty { return nil }
    }

    /// - Returns: What to tell a person.
    func putAside() throws -> String {
        let branch = try freeNumber()
        let suffix = CheckpointStore.suffix(ofBranch: branch)
        var kept = ["checkpoints/step-….\(suffix)"]
        if try copy(directory.metrics, to: Self.name(ofMetrics: directory.metrics, suffix)) {
            kept.append("metrics.\(suffix).jsonl")
        }
        if try linkEvents(into: directory.events + "/" + suffix) { kept.append("events/\(suffix)") }
        try renameSamples(suffix)
        // The copies are safe before anything counts on them.
        for path in [directory.path, directory.events, directory.events + "/" + suffix]
        where FileManager.default.fileExists(atPath: path) {
            try store.fileSystem.synchronize(directory: path)
        }
        try store.putAside(steps, branch: branch)
        let left = steps.count == 1 ? "checkpoint of step" : "\(steps.count) checkpoints of steps \(steps[0]) to"
        return
            "going back: the \(left) \(steps[steps.count - 1]) and the records of the branch that is left are kept aside, as "
            + kept.joined(separator: ", ")
    }

    /// A number that nothing has that was put aside before.
    private func freeNumber() throws -> Int {
        let files = FileManager.default
        let ofMetrics = try files.contentsOfDirectory(atPath: directory.path).compactMap { name -> Int? in
            guard name.hasPrefix("metrics."), name.hasSuffix(".jsonl") else { return nil }
            return CheckpointStore.branch(ofSuffix: name.dropFirst(8).dropLast(6))
        }
        let ofEvents = ((try? files.contentsOfDirectory(atPath: directory.events)) ?? [])
            .compactMap(CheckpointStore.branch(ofSuffix:))
        return try (store.aside().map(\.branch) + ofMetrics + ofEvents).reduce(0, max) + 1
    }

    private static func name(ofMetrics path: String, _ suffix: String) -> String {
        String(path.dropLast(".jsonl".count)) + "." + suffix + ".jsonl"
    }

    /// Copies a file durably.
    /// - Returns: false when there is none.
    private func copy(_ path: String, to copy: String) throws -> Bool {
        guard FileManager.default.fileExists(atPath: path) else { return false }
        try FileManager.default.copyItem(atPath: path, toPath: copy)
        let descriptor = open(copy, O_RDONLY | O_CLOEXEC)
        defer { if descriptor >= 0 { close(descriptor) } }
        guard descriptor >= 0, fsync(descriptor) == 0 else { throw FileFailure("write", copy) }
        return true
    }

    /// Gives TensorBoard's files of the branch a second place, where it shows them as a run of their own. In their first place
    /// it drops what the branch says of steps that are done anew.
    private func linkEvents(into place: String) throws -> Bool {
        let files = FileManager.default
        let names = ((try? files.contentsOfDirectory(atPath: directory.events)) ?? []).filter {
            $0.contains("tfevents")
        }
        guard !names.isEmpty else { return false }
        try Directories.make(place)
        for name in names {
            let (file, copy) = (directory.events + "/" + name, place + "/" + name)
            // No file is ever written again by a later start, so one with two names is as good as two.
            if link(file, copy) != 0 { try files.copyItem(atPath: file, toPath: copy) }
        }
        return true
    }

    private func renameSamples(_ suffix: String) throws {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.samples)) ?? []
        for name in names {
            guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step > pointOfDeparture else { continue }
            let path = directory.samples + "/" + name
            guard rename(path, path + "." + suffix) == 0 else { throw FileFailure("rename", path) }
        }
    }
}
