/// Which checkpoints stay.
public struct Retention: Sendable, Equatable {
    /// How many of the newest stay; at least one does.
    public var last: Int
    /// Checkpoints of steps divisible by this stay for good.
    public var every: Int?

    public init(last: Int, every: Int? = nil) {
        self.last = last
        self.every = every
    }
}

extension CheckpointStore {
    /// The steps that `removeOutdated` would remove. Only checkpoints with a good manifest count and are removed.
    public func outdatedSteps(_ retention: Retention) throws -> [Int] {
        let good = try steps().filter { (try? open(step: $0)) != nil }
        return good.dropLast(max(1, retention.last)).filter { step in
            retention.every.map { $0 <= 0 || step % $0 != 0 } ?? true
        }
    }

    /// Takes checkpoints that need not stay out of the way, by renaming them; `emptyTrash` frees their space.
    /// - Returns: Their steps.
    @discardableResult
    public func removeOutdated(_ retention: Retention) throws -> [Int] {
        let steps = try outdatedSteps(retention)
        for step in steps { try fileSystem.rename(path(step), to: path(step, ".trash")) }
        if !steps.isEmpty { try fileSystem.synchronize(directory: directory) }
        return steps
    }

    /// Deletes what `removeOutdated` took out of the way. What cannot be deleted stays for the next time.
    public func emptyTrash() {
        for name in (try? fileSystem.list(directory)) ?? [] where name.hasPrefix("step-") && name.hasSuffix(".trash") {
            try? fileSystem.removeTree(Path.join(directory, name))
        }
    }
}
