internal import Foundation
public import TransfusionConfig
internal import TransfusionSupport

/// The directory of an experiment: `runs/NAME` with the runs, `results/NAME.json` with what is known of each, `work/NAME`
/// with what measuring it left, and the report.
public struct ExperimentStore: Sendable {
    public let directory: String
    /// Two experiments in one directory would train the same runs.
    private let lock: FileLock

    /// - Throws: `CommandFailure` when another process works there; `FileFailure`.
    public init(_ directory: String) throws {
        self.directory = directory
        for part in ["runs", "results", "work"] { try Directories.make("\(directory)/\(part)") }
        guard let lock = try FileLock.take(directory + "/experiment.lock") else {
            throw CommandFailure(
                "\(directory): another tf-coord works there; wait for it, or choose another directory", .wrongUse)
        }
        self.lock = lock
    }

    public func run(_ trial: ExperimentPlan.Trial) -> RunDirectory { RunDirectory("\(directory)/runs/\(trial.name)") }
    func work(_ trial: ExperimentPlan.Trial) -> String { "\(directory)/work/\(trial.name)" }
    func picture(_ trial: ExperimentPlan.Trial) -> String { "\(directory)/results/\(trial.name).png" }
    private func result(_ trial: ExperimentPlan.Trial) -> String { "\(directory)/results/\(trial.name).json" }

    /// A picture larger than this is none of a training run.
    static let largestPicture = 8 << 20

    /// What is known of a trial; nil before it is trained.
    func read(_ trial: ExperimentPlan.Trial) throws -> TrialResult? {
        let path = result(trial)
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        guard let data = FileManager.default.contents(atPath: path),
            let result = try? JSONDecoder().decode(TrialResult.self, from: data)
        else { throw CommandFailure("\(path): is no result of a trial; remove it, and the trial is measured again") }
        return result
    }

    func write(_ value: TrialResult, of trial: ExperimentPlan.Trial) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        try AtomicFile.write(try encoder.encode(value), to: result(trial))
    }

    /// Keeps the last pictures that a run has drawn of its fixed prompts, if there are any.
    func keepPicture(of trial: ExperimentPlan.Trial) throws {
        let samples = run(trial).samples
        let drawings = (try? FileManager.default.contentsOfDirectory(atPath: samples)) ?? []
        let steps = drawings.compactMap { name in RunHistory.step(ofDrawing: name).map { (step: $0, name: name) } }
        for (_, drawing) in steps.sorted(by: { $0.step > $1.step }) {
            guard let data = FileManager.default.contents(atPath: "\(samples)/\(drawing)/grid.png"),
                data.count <= Self.largestPicture
            else { continue }
            return try AtomicFile.write(data, to: picture(trial))
        }
    }

    /// An empty directory for what measures write.
    func clearWork(_ trial: ExperimentPlan.Trial) throws {
        try? FileManager.default.removeItem(atPath: work(trial))
        try Directories.make(work(trial))
    }

    /// Refuses trials that were begun with another configuration.
    /// - Throws: `CommandFailure` with a line for each.
    func check(_ trials: [ExperimentPlan.Trial]) throws {
        var lines: [String] = []
        for trial in trials {
            let old: RunConfiguration?
            if let result = try read(trial) {
                old = try? RunConfiguration(yaml: result.configuration, file: self.result(trial))
            } else {
                old = run(trial).isRun ? try? RunConfiguration.load(run(trial).configuration) : nil
            }
            // How a run is kept and watched does not change its numbers.
            let differences = (old.map(trial.configuration.differences(from:)) ?? []).filter { difference in
                !["checkpoint.", "supervision.", "telemetry."].contains { difference.key.hasPrefix($0) }
            }
            guard !differences.isEmpty else { continue }
            lines.append(
                "\(directory): \(trial.name) was begun with another configuration "
                    + "(\(differences.map(\.description).joined(separator: "; "))); go back to it, or choose another directory"
            )
        }
        if !lines.isEmpty { throw CommandFailure(lines, .wrongUse) }
    }
}
