/// What a path given by a person means: a run, a directory of checkpoints, or one checkpoint.
public struct CheckpointLocation: Sendable {
    static let checkpointsName = "checkpoints"

    /// The directory that holds the checkpoints.
    public let store: CheckpointStore
    /// The step, when the path names one checkpoint.
    public let step: Int?

    /// - Throws: `CheckpointError` when there is no checkpoint at all.
    public init(_ path: String, options: CheckpointOptions = CheckpointOptions()) throws {
        let fileSystem = POSIXFileSystem()
        let names = try fileSystem.list(path)
        if names.contains(Manifest.fileName), let step = CheckpointStore.step(ofName: Path.name(of: path)) {
            store = CheckpointStore(Path.parent(of: path), options: options)
            self.step = step
            return
        }
        step = nil
        if names.contains(where: { CheckpointStore.step(ofName: $0) != nil }) {
            store = CheckpointStore(path, options: options)
        } else if names.contains(Self.checkpointsName) {
            store = CheckpointStore(Path.join(path, Self.checkpointsName), options: options)
        } else {
            throw CheckpointError(path, "holds no checkpoint; give a run, its checkpoints or one of them")
        }
    }

    /// The checkpoint that the path names, or the newest whose manifest holds. Nothing is put aside.
    public func newest() throws -> Checkpoint {
        if let step { return try store.open(step: step) }
        var problem: (any Error)?
        for step in try store.steps().reversed() {
            do { return try store.open(step: step) } catch { problem = problem ?? error }
        }
        throw problem ?? CheckpointError(store.directory, "holds no checkpoint yet")
    }
}
