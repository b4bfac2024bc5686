import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import TransfusionParallel
import _TestUtilities

@testable import TransfusionTraining

/// Real training, saved in every layout and continued in every other.
@Suite struct TrainingLayoutTests {
    struct Layout: Sendable, CustomStringConvertible {
        let data: Int
        let tensor: Int
        var ranks: Int { data * tensor }
        var description: String { "\(data)x\(tensor)" }
        /// Sums in one fixed tree need a power of two.
        var isElastic: Bool { data & (data - 1) == 0 }
        static let all = [1, 2, 3, 4].flatMap { data in
            [1, 2, 4].map { Layout(data: data, tensor: $0) }
        }.filter { $0.ranks <= 8 }
    }

    private static let firstSteps = 3
    private static let moreSteps = 5
    private let run: TrainingRun

    init() throws {
        run = try TrainingRun()
    }

    /// Runs `body` on every rank of a layout, and returns what it gave on rank 0.
    private func train<Result: Sendable>(
        _ layout: Layout, _ name: String,
        _ body: @escaping @Sendable (TrainingLoop<TransfusionTask>, any Communicator) throws -> Result
    ) throws -> Result {
        let configuration = try run.configuration([
            "model.heads=4", "parallel.data=\(layout.data)", "parallel.tensor=\(layout.tensor)",
            "parallel.reduction=\(layout.isElastic ? "elastic" : "fast")",
        ])
        let directory = run.path(name)
        return try ThreadGroup.run(ranks: layout.ranks) { group in
            let loop = try TrainingLoop(
                configuration, directory: directory, group: group, ranksOnHost: layout.ranks, log: { _ in })
            return try body(loop, group)
        }[0]
    }

    private static func losses(_ loop: TrainingLoop<TransfusionTask>, steps: Int) throws -> [Double] {
        try (0..<steps).map { _ in try loop.trainOneStep().losses.loss }
    }

    /// Ten layouts saved, each continued in all ten.
    @Test(.timeLimit(.minutes(10))) func everyLayoutGoesOnFromEveryOther() throws {
        // What each layout comes to when nothing interrupts it.
        let unbroken = try Layout.all.map { layout in
            try train(layout, "\(layout)") { loop, _ in
                _ = try loop.checkpoints.begin(loop.task)
                _ = try Self.losses(loop, steps: Self.firstSteps)
                try loop.checkpoints.save(loop.state, loop.task, isLast: true)
                return try Self.losses(loop, steps: Self.moreSteps)
            }
        }
        let paths = Layout.all.map { run.path("\($0)").checkpoints + "/step-00000003" }
        let again = CheckpointStore(run.directory.file("again"), options: CheckpointOptions(keyFile: nil))
        var count = 0
        for target in Layout.all {
            // For each source: whether every tensor has the same bits, and the losses of the next steps.
            let continued = try train(target, "on-\(target)") { loop, group in
                try paths.map { path in
                    let checkpoint = try Checkpoint(path)
                    try loop.checkpoints.load(checkpoint, into: loop.state, loop.task)
                    try again.save(
                        step: 3, metadata: checkpoint.metadata, pieces: loop.state.pieces(), collectives: group)
                    let copy = again.directory + "/step-00000003"
                    let isSame = try group.rank != 0 || TensorComparison(path, copy).isEqual
                    return (isSame, try Self.losses(loop, steps: Self.moreSteps))
                }
            }
            for (source, (reference, (isSame, losses))) in zip(Layout.all, zip(unbroken, continued)) {
                #expect(isSame, "\(source) → \(target): a tensor has other bits")
                if source.tensor == target.tensor, source.isElastic, target.isElastic {
                    #expect(losses == reference, "\(source) → \(target)")
                } else {
                    #expect(largestRelativeDifference(losses, reference) <= 2e-5, "\(source) → \(target)")
                }
                count += 1
            }
        }
        #expect(count == 100)
    }
}
