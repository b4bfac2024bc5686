import TransfusionSupport

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

    /// Which of the steps, given in ascending order, need not stay.
    fileprivate func outdated(of steps: [Int]) -> [Int] {
        steps.dropLast(max(1, last)).filter { step in every.map { $0 <= 0 || step % $0 != 0 } ?? true }
    }
}

extension CheckpointStore {
    /// The steps that `removeOutdated` would remove. Only checkpoints with a good manifest count and are removed.
    public func outdatedSteps(_ retention: Retention) throws -> [Int] {
        retention.outdated(of: try steps().filter { (try? open(step: $0)) != nil })
    }

    /// Takes checkpoints that need not stay out of the way, by renaming them; `emptyTrash` frees their space.
    /// - Returns: Their steps.
    @discardableResult
    public func removeOutdated(_ retention: Retention) throws -> [Int] {
        try remove(outdatedSteps(retention))
    }

    /// The same when the checkpoint of `saved` has just become safe. Ranks wait meanwhile, so nothing but names is looked
    /// at; and what is newer than `saved` was not saved by this run, which leaves it alone.
    func removeOutdated(_ retention: Retention, after saved: Int) throws -> [Int] {
        try remove(retention.outdated(of: steps().filter { $0 <= saved }))
    }

    private func remove(_ steps: [Int]) throws -> [Int] {
        var removed: [Int] = []
        for step in steps {
            // A run that went back saves steps again whose trash may still be there.
            if fileSystem.exists(Self.name(step) + ".trash", in: directory) {
                try fileSystem.removeTree(path(step, ".trash"))
            }
            do throws(FileSystemError) {
                try fileSystem.rename(path(step), to: path(step, ".trash"))
                removed.append(step)
            } catch {
                // 'tf-ckpt prune' and a run may remove the same.
                if !error.isMissing { throw error }
            }
        }
        if !removed.isEmpty { try fileSystem.synchronize(directory: directory) }
        return removed
    }

    /// Deletes what `removeOutdated` took out of the way. What cannot be deleted stays for the next time.
    public func emptyTrash() {
        for name in (try? fileSystem.list(directory)) ?? [] where name.hasPrefix("step-") && name.hasSuffix(".trash") {
            try? fileSystem.removeTree(Paths.join(directory, name))
        }
    }
}
