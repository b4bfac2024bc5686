import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionParallel
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// The loop trains any task: here one with two players in turn, of which the loop knows nothing.
@Suite struct TwoPlayerTests {
    private let run: TrainingRun

    init() throws { run = try TrainingRun() }

    private func train(_ name: String, ranks: Int = 1, lastStep: Int? = nil) throws {
        let configuration = try run.configuration([
            "checkpoint.every_steps=1", "checkpoint.keep.last=99", "optimizer.clip_norm=1e9",
            "parallel.reduction=elastic", "telemetry.log_every_steps=3",
        ])
        let directory = run.path(name)
        _ = try ThreadGroup.run(ranks: ranks) { group in
            var options = TrainingOptions()
            options.lastStep = lastStep
            return try TrainingLoop(configuration, directory: directory, group: group, options: options, log: { _ in })
            {
                let resources = try TrainingResources(configuration, group: group, ranksOnHost: ranks)
                return try TrainingSetup(configuration, resources, TwoPlayerTask(configuration, resources))
            }.run()
        }
    }

    @Test(.timeLimit(.minutes(2))) func aResumedRunGivesTheSameBits() throws {
        try train("whole")
        // Before the second player begins, in the middle of a record, and on other ranks.
        for (step, ranks) in [(3, 1), (5, 2), (13, 4), (20, 1)] { try train("parts", ranks: ranks, lastStep: step) }
        for step in 1...20 {
            #expect(try run.tensors("parts", step: step) == run.tensors("whole", step: step), "step \(step)")
        }
        func logged(_ name: String) throws -> [[String: Double]] { try run.records(name).map(\.losses) }
        #expect(try logged("parts") == logged("whole"))
        #expect(try run.losses("parts") == run.losses("whole"))
        #expect(try run.records("whole").map(\.gradientNorm) == run.records("parts").map(\.gradientNorm))
    }

    @Test(.timeLimit(.minutes(2))) func aPlayerIsTrainedWhenItIsItsTurn() throws {
        try train("run")
        let begin = TwoPlayerTask.firstStepOfDiscriminator
        func tensors(_ step: Int) throws -> [String: [Float]] { try run.tensors("run", step: step) }
        #expect(try tensors(1)["discriminator.weight"] == tensors(begin)["discriminator.weight"])
        #expect(try tensors(1)["generator.weight"] != tensors(begin)["generator.weight"])
        #expect(try tensors(begin)["discriminator.weight"] != tensors(begin + 1)["discriminator.weight"])
        let records = try run.records("run")
        #expect(records[0].losses.keys.sorted() == ["adversarial"])
        #expect(records[1].losses.keys.sorted() == ["adversarial", "fake", "real"])
        #expect(records[1].images == 6 * TwoPlayerTask.sequences)
        let store = CheckpointStore(run.path("run").checkpoints)
        #expect(try store.open(step: 20).metadata.scalars["updates"]?["discriminator"] == .number(16))
    }

    /// The generator's loss passes through the discriminator, and so does its gradient; only the discriminator's own counts.
    @Test(.timeLimit(.minutes(2))) func whatOnePlayerGivesTheOtherIsThrownAway() throws {
        try train("run")
        let begin = TwoPlayerTask.firstStepOfDiscriminator, all = 0..<TwoPlayerTask.sequences
        let width = TwoPlayerTask.width
        let weights = try #require(run.tensors("run", step: begin)["discriminator.weight"])
        // The generator was updated first.
        let generator = try #require(run.tensors("run", step: begin + 1)["generator.weight"])
        let noise = TwoPlayerTask.noise(step: begin, sequences: all)
        let real = TwoPlayerTask.real(step: begin, sequences: all)
        var gradient = [Float](repeating: 0, count: width)
        for row in all {
            let input = real[row * width..<(row + 1) * width].map(\.self)
            let made = (0..<width).map { output in
                (0..<width).reduce(Float(0)) { $0 + generator[output * width + $1] * noise[row * width + $1] }
            }
            for (x, target) in [(input, Float(1)), (made, Float(0))] {
                let score = zip(x, weights).reduce(Float(0)) { $0 + $1.0 * $1.1 }
                for column in 0..<width { gradient[column] += 2 * (score - target) * x[column] / Float(all.count) }
            }
        }
        let found = try #require(run.tensors("run", step: begin + 1)["optimizer.exp_avg.discriminator.weight"])
        for (found, expected) in zip(found, gradient) {
            #expect(abs(found / 0.1 - expected) <= 1e-5 * max(1, abs(expected)), "\(found / 0.1) and \(expected)")
        }
    }
}
