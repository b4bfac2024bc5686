internal import Foundation
public import TransfusionCore
public import TransfusionSupport

/// The directory in which a run keeps everything: where each thing lies, and the rule that it belongs to one run.
public struct RunDirectory: Sendable, Equatable {
    public let path: String

    /// A directory that exists, or will; nothing is touched.
    public init(_ path: String) {
        self.path = path
    }

    /// The resolved configuration.
    public var configuration: String { path + "/run.yaml" }
    /// One JSON object per logged step.
    public var metrics: String { path + "/metrics.jsonl" }
    /// What the run tells Prometheus, for the textfile collector of a node exporter.
    public var prometheus: String { path + "/metrics.prom" }
    /// TensorBoard event files.
    public var events: String { path + "/events" }
    /// One file per rank that says where the rank is.
    public var heartbeats: String { path + "/heartbeats" }
    public var logs: String { path + "/logs" }
    /// Pictures of the fixed prompts.
    public var samples: String { path + "/samples" }
    public var checkpoints: String { path + "/checkpoints" }
    /// What the coordinator knows of the run, for the coordinator that takes over when it is killed.
    public var coordinator: String { path + "/coordinator" }

    /// Held by whoever has brought a job into the directory; see `RunClaim`.
    public var supervisionLock: String { path + "/run.lock" }
    /// Held by rank 0 of the job that trains.
    public var trainingLock: String { path + "/training.lock" }

    /// Whether a run has begun here.
    public var isRun: Bool { FileManager.default.fileExists(atPath: configuration) }

    /// Makes the directory a run's own, or enters that run again. To be called by one process of the run.
    ///
    /// A configuration that differs only in keys that may change on resume takes the place of the old one.
    /// - Throws: `RunDirectoryError` when the directory belongs to another run or cannot be written.
    public func enter(_ configuration: RunConfiguration) throws(RunDirectoryError) {
        if try check(configuration) { return try makeDirectories() }
        try makeDirectories()
        do {
            try AtomicFile.write(configuration.resolved.utf8, to: self.configuration)
        } catch {
            throw .unusable(error)
        }
    }

    /// Finds out whether a run of this configuration may use the directory. Nothing is touched.
    /// - Returns: Whether the directory already holds a run of exactly this configuration.
    /// - Throws: `RunDirectoryError` when it belongs to another run, or to something else.
    @discardableResult
    public func check(_ configuration: RunConfiguration) throws(RunDirectoryError) -> Bool {
        if isRun {
            let old: RunConfiguration
            do {
                old = try RunConfiguration.load(self.configuration)
            } catch {
                throw .unreadable(self.configuration, error)
            }
            let differences = configuration.differences(from: old).filter { !$0.mayChangeOnResume }
            guard differences.isEmpty else { throw .belongsToAnotherRun(path, differences) }
            return old == configuration
        } else if let foreign = contents.first(where: { !knownNames.contains($0) && !Self.isNobodysWork($0) }) {
            throw .notARun(path, holds: foreign)
        }
        return false
    }

    /// The names of the tokenizer of the run's data set, which is one of them.
    private static let tokenizers = ["tokenizer.model", "tokenizer.json"]

    /// How a configuration differs from that of the run in the directory; empty when there is none.
    public func changes(to configuration: RunConfiguration) -> [RunConfiguration.Difference] {
        guard isRun, let old = try? RunConfiguration.load(self.configuration) else { return [] }
        return configuration.differences(from: old)
    }

    private var directories: [String] { [events, heartbeats, logs, samples, checkpoints] }

    private var knownNames: Set<String> {
        Set(
            (directories + [coordinator, metrics, prometheus, configuration, supervisionLock, trainingLock])
                .map(Paths.name(of:)) + Self.tokenizers)
    }

    /// What the system or a batch system puts into a directory before the run has it: `lost+found` of a file system of its own,
    /// and the output of jobs, as in `slurm-12.out` or `train.o345`.
    private static func isNobodysWork(_ name: String) -> Bool {
        name == "lost+found" || name.wholeMatch(of: /.+\.(out|err|log|[oe]\d+)/) != nil
    }

    private var contents: [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return names.filter { !$0.hasPrefix(".") && !$0.hasSuffix(".tmp") }.sorted()
    }

    private func makeDirectories() throws(RunDirectoryError) {
        for directory in directories {
            do {
                try Directories.make(directory)
            } catch {
                throw .unusable(error)
            }
        }
    }
}

/// Why a run cannot use a directory.
public enum RunDirectoryError: UsageError, Equatable {
    case belongsToAnotherRun(String, [RunConfiguration.Difference])
    case notARun(String, holds: String)
    case unreadable(String, ConfigurationError)
    case unusable(FileFailure)

    public var description: String {
        switch self {
        case .belongsToAnotherRun(let path, let differences):
            "\(path): belongs to a run of another configuration (\(differences.map(\.description).joined(separator: "; "))); "
                + Self.consequences(differences).map { $0 + "; " }.joined()
                + "go back to the old values, or choose another run directory, where a new run can begin with the weights of "
                + "this one (model.initial_weights=\(path))"
        case .notARun(let path, let name):
            "\(path): is not a run directory and not empty (it holds \(name)); choose another run directory"
        case .unreadable(let path, let error):
            "\(path): is no valid configuration any more; restore it, or choose another run directory "
                + "(\(error.problems.first?.description ?? ""))"
        case .unusable(let failure): failure.description
        }
    }

    public var isWrongUse: Bool { true }

    /// What would follow if a run went on with other values of these keys.
    private static func consequences(_ differences: [RunConfiguration.Difference]) -> [String] {
        let sections = Set(differences.map { String($0.key.prefix { $0 != "." }) })
        var consequences: [String] = []
        if differences.contains(where: { $0.key == "model.initial_weights" }) {
            consequences.append("a run starts from other weights once")
        }
        if differences.contains(where: { $0.key.hasPrefix("model.") && $0.key != "model.initial_weights" }) {
            consequences.append("its weights would be those of another model")
        }
        if !sections.isDisjoint(with: ["seed", "data", "batch"]) {
            consequences.append("some of the data would be seen twice in an epoch, and some not at all")
        }
        if !sections.isDisjoint(with: ["precision", "optimizer", "objective"]) {
            consequences.append("its steps so far, and the moments of the optimizer, would be of another training")
        }
        return consequences
    }
}
