internal import Glibc
internal import TransfusionSupport

/// A checkpoint of a branch that its run has left: `step-N.aside-K`. No reader takes it for one of the run's; by its path it
/// opens like any other.
public struct AsideCheckpoint: Sendable, Equatable {
    public let path: String
    public let step: Int
    /// Which time the run went back, from 1: the K of everything that was put aside together.
    public let branch: Int
}

// A run that goes back to an older checkpoint leaves the newer ones. They must be out of its way, or `newestVerified` would
// go on from them, and retention would take the new ones for the oldest.
extension CheckpointStore {
    /// The checkpoints that were put aside, by branch and step.
    public func aside() throws -> [AsideCheckpoint] {
        try names().compactMap { name in
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 2, let step = Self.step(ofName: String(parts[0])),
                let branch = Self.branch(ofSuffix: parts[1])
            else { return nil }
            return AsideCheckpoint(path: Paths.join(directory, name), step: step, branch: branch)
        }.sorted { ($0.branch, $0.step) < ($1.branch, $1.step) }
    }

    /// What is appended to the name of all that is put aside together.
    public static func suffix(ofBranch branch: Int) -> String { "aside-\(branch)" }

    /// The number of a branch from what `suffix(ofBranch:)` made of it.
    public static func branch(ofSuffix suffix: some StringProtocol) -> Int? {
        guard suffix.hasPrefix("aside-"), let branch = Int(suffix.dropFirst(6)), branch > 0,
            suffix == Self.suffix(ofBranch: branch)
        else { return nil }
        return branch
    }

    /// Puts checkpoints aside, by renaming them, the newest last.
    ///
    /// As long as the newest has its name, whoever looks for the newest finds the branch that is being left, and afterwards
    /// what is older than all of `steps`: never one of the middle of the branch.
    public func putAside(_ steps: [Int], branch: Int) throws {
        let steps = steps.sorted()
        for step in steps {
            if step == steps.last, steps.count > 1 { try fileSystem.synchronize(directory: directory) }
            try fileSystem.rename(path(step), to: path(step, "." + Self.suffix(ofBranch: branch)))
        }
        if !steps.isEmpty { try fileSystem.synchronize(directory: directory) }
    }

    /// Whether a checkpoint is one of the run's own, by whatever path it was opened; one that was put aside is not.
    public func holds(_ checkpoint: Checkpoint) -> Bool {
        var opened = stat(), own = stat()
        return stat(checkpoint.path, &opened) == 0 && stat(path(checkpoint.step), &own) == 0
            && opened.st_dev == own.st_dev && opened.st_ino == own.st_ino
    }
}
