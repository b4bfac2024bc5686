import Foundation
import Synchronization
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionParallel
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// A run of the smallest sensible model on a small data set, on ranks that are threads.
struct TrainingRun {
    let dataset: SmallDataset
    let directory: TemporaryDirectory

    init(channels: Int = 3, hasBrokenPicture: Bool = false, edits: Int = 0, hasValidation: Bool = false) throws {
        dataset = try SmallDataset(
            channels: channels, hasBrokenPicture: hasBrokenPicture, edits: edits, hasValidation: hasValidation)
        directory = try TemporaryDirectory()
    }

    /// One configuration for all tests; `overrides` as on the command line.
    func configuration(_ overrides: [String]) throws -> RunConfiguration {
        try RunConfiguration(
            yaml: """
                model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
                data: {path: \(dataset.path)}
                schedule: {steps: 20, learning_rate: 3e-3, minimum_learning_rate: 1e-4, warmup_steps: 5}
                batch: {sequence_length: 64, global_sequences: 8}
                parallel: {threads: 1}
                precision: f32
                checkpoint: {every_steps: 100, asynchronous: false}
                telemetry: {tensorboard: false}
                """, overrides: overrides)
    }

    func path(_ name: String) -> RunDirectory { RunDirectory(directory.path + "/" + name) }

    /// Trains run `name` and returns how it ended.
    @discardableResult
    func train(
        _ name: String, ranks: Int = 1, lastStep: Int? = nil, resume: TrainingOptions.Resume = .automatic,
        set overrides: [String] = [], log: @escaping @Sendable (String) -> Void = { _ in }
    ) throws -> TrainingOutcome {
        let configuration = try configuration(overrides), directory = path(name)
        return try ThreadGroup.run(ranks: ranks) { group in
            var options = TrainingOptions()
            options.lastStep = lastStep
            options.resume = resume
            return try TrainingLoop(
                configuration, directory: directory, group: group, ranksOnHost: ranks, options: options, log: log
            ).run()
        }[0]
    }

    func records(_ name: String) throws -> [StepRecord] {
        try MetricsLog.read(path(name).metrics)
    }

    func losses(_ name: String) throws -> [Double] {
        try records(name).map(\.loss)
    }

    /// Every tensor of a checkpoint, by name.
    func tensors(_ name: String, step: Int) throws -> [String: [Float]] {
        let checkpoint = try CheckpointStore(path(name).checkpoints).open(step: step)
        return try checkpoint.tensors.mapValues { box in
            var values = [Float](repeating: 0, count: box.count)
            try values.withUnsafeMutableBytes { try checkpoint.read(box, into: $0) }
            return values
        }
    }
}

/// How far two series are apart at most, relative to the second.
func largestRelativeDifference(_ a: [Double], _ b: [Double]) -> Double {
    guard a.count == b.count, !a.isEmpty else { return .infinity }
    return zip(a, b).map { abs($0 - $1) / abs($1) }.max() ?? .infinity
}
