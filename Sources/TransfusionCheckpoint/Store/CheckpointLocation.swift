import TransfusionSupport

/// What a path given by a person means: a run, a directory of checkpoints, or one checkpoint.
public struct CheckpointLocation: Sendable {
    static let checkpointsName = "checkpoints"

    /// The checkpoints of the run.
    public let store: CheckpointStore
    /// The directory of one checkpoint, when the path names one.
    public let single: String?

    /// - Throws: `CheckpointError` when there is no checkpoint at all.
    public init(_ path: String, options: CheckpointOptions = CheckpointOptions()) throws {
        let names = Set(try POSIXFileSystem().list(path))
        if names.contains(Manifest.fileName) {
            store = CheckpointStore(Paths.parent(of: path), options: options)
            single = path
            return
        }
        single = nil
        if Self.holdsSteps(names) {
            store = CheckpointStore(path, options: options)
        } else if names.contains(Self.checkpointsName) {
            store = CheckpointStore(Paths.join(path, Self.checkpointsName), options: options)
        } else {
            throw CheckpointError(path, "holds no checkpoint; give a run, its checkpoints or one of them")
        }
    }

    /// Whether a directory with these names in it is a run, a directory of checkpoints, or one checkpoint.
    static func isLocation(_ names: Set<String>) -> Bool {
        names.contains(Manifest.fileName) || holdsSteps(names) || names.contains(checkpointsName)
    }

    private static func holdsSteps(_ names: Set<String>) -> Bool {
        names.contains { CheckpointStore.step(ofName: $0) != nil }
    }

    /// The directories of all checkpoints that the path names, oldest first.
    public func paths() throws -> [String] {
        if let single { return [single] }
        return try store.steps().map { store.path($0) }
    }

    /// The checkpoint that the path names, or the newest whose manifest holds. Nothing is put aside.
    ///
    /// A run that goes on meanwhile may remove it: its files are held open, and one that is gone before that gives way to the
    /// next.
    public func newest() throws -> Checkpoint {
        listing: while true {
            var problem: (any Error)?
            for path in try paths().reversed() {
                do { return try open(path) } catch {
                    if isGone(path) { continue listing }
                    problem = problem ?? error
                }
            }
            throw problem ?? CheckpointError(store.directory, "holds no checkpoint yet")
        }
    }

    /// Opens one of `paths`, and holds its files open. Of a damaged one at least the manifest can be looked at.
    public func open(_ path: String) throws -> Checkpoint {
        let checkpoint = try Checkpoint(path, options: store.options)
        do {
            return try checkpoint.holdingFiles()
        } catch {
            if isGone(path) { throw error }
            return checkpoint
        }
    }

    /// Whether one of `paths` has been removed since, as a run does with old checkpoints.
    public func isGone(_ path: String) -> Bool {
        guard single == nil, let names = try? store.names() else { return false }
        return !names.contains(Paths.name(of: path))
    }

    /// What `body` makes of each checkpoint, oldest first; it gives nil for one that is gone. What a run has saved in its
    /// place is looked at as well.
    public func examine<Result>(_ body: (String) throws -> Result?) throws -> [Result] {
        var results: [Result] = []
        var seen: Set<String> = []
        var isComplete = false
        while !isComplete {
            isComplete = true
            for path in try paths() where seen.insert(path).inserted {
                if let result = try body(path) { results.append(result) } else { isComplete = false }
            }
        }
        return results
    }
}
