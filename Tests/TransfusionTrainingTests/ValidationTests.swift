import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import TransfusionParallel
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// Losses on the split "validation" while a run trains.
@Suite struct ValidationTests {
    private let run: TrainingRun

    init() throws { run = try TrainingRun(hasValidation: true) }

    /// Lets `body` use what rank 0 of a layout trains with, at the weights of the run's seed.
    private func withSetup<Result: Sendable>(
        ranks: Int = 1, _ set: [String], _ body: @escaping @Sendable (TrainingSetup<TransfusionTask>) throws -> Result
    ) throws -> Result {
        let configuration = try run.configuration(["model.heads=4", "evaluation.every_steps=1"] + set)
        return try ThreadGroup.run(ranks: ranks) { group in
            let setup: TrainingSetup<TransfusionTask> = try TrainingSetup(
                configuration, group: group, ranksOnHost: ranks)
            setup.task.model.parameters.initialize(seed: 3)
            return try body(setup)
        }[0]
    }

    @Test(.timeLimit(.minutes(2))) func everyLayoutMeasuresTheSame() throws {
        func measure(data: Int, tensor: Int) throws -> [NamedSum] {
            let set = ["evaluation.sequences=21", "parallel.tensor=\(tensor)", "batch.micro_sequences=2"]
            return try withSetup(ranks: data * tensor, set) { try #require($0.validation).measure() }
        }
        let alone = try measure(data: 1, tensor: 1)
        #expect(alone.map(\.name) == ["image", "text"] && alone.allSatisfy { $0.sum > 0 && $0.count > 20 })
        #expect(alone.map(\.weight) == [5, 1])
        for data in [2, 3, 4] { #expect(try measure(data: data, tensor: 1) == alone, "\(data) ranks") }
        // Two halves are summed everywhere; more parts are not.
        for data in [1, 2] { #expect(try measure(data: data, tensor: 2) == alone, "\(data) × 2 ranks") }
        for (a, b) in zip(try measure(data: 1, tensor: 4), alone) {
            #expect(a.count == b.count && abs(a.mean / b.mean - 1) <= 1e-7, "1 × 4 ranks: \(a), \(b)")
        }
    }

    /// Computed one sequence at a time, with timesteps and noise that are written down here.
    @Test(.timeLimit(.minutes(2))) func theLossIsThatOfTheSplit() throws {
        let (measured, text, image) = try withSetup(["evaluation.sequences=8", "batch.micro_sequences=4"]) { setup in
            let task = setup.task, context = setup.resources.context, model = task.source.model
            let heldOut = try #require(try task.heldOutBatches().first)
            var text = 0.0, image = 0.0, images = 0
            for sequence in 0..<8 {
                let batch = try heldOut.makeBatch(sequence..<sequence + 1)
                #expect(batch.layout.imageCount == batch.timesteps.count)
                let elements = batch.timesteps.isEmpty ? 0 : batch.noise.count / batch.timesteps.count
                var noise: [Float] = []
                for index in images..<images + batch.layout.imageCount {
                    var values = [Float](repeating: 0, count: elements)
                    values.withUnsafeMutableBufferPointer {
                        Philox(seed: 0, purpose: .validationNoise, index: index).fillNormal($0)
                    }
                    noise += values
                }
                #expect(batch.noise == noise)
                for (place, timestep) in batch.timesteps.enumerated() {
                    let part = 2 * ((images + place) % 16) + 1
                    #expect([1000, 500].map { Int32($0 * part / 32) }.contains(timestep))
                }
                images += batch.layout.imageCount
                let noised = NoisedImages(
                    latents: batch.latents, noise: noise, timesteps: batch.timesteps, schedule: NoiseSchedule(),
                    configuration: model, context)
                let weights = TransfusionModel.LossWeights(targets: 1, images: 1, imageLossWeight: 5)
                let sums = try task.model.losses(
                    batch.layout, images: batch.timesteps.isEmpty ? nil : noised, weights: weights, context)
                text += sums.text
                image += sums.image
            }
            return (try #require(setup.validation).measure(), text, image / Double(images))
        }
        #expect(abs(measured[0].mean / image - 1) < 1e-6 && abs(measured[1].sum / text - 1) < 1e-6)
        #expect(abs(measured.loss - (text / Double(measured[1].count) + 5 * image)) < 1e-5)
    }

    /// Beside the losses of the mixture, those of each data set: what is measured where it is alone.
    @Test(.timeLimit(.minutes(5))) func eachSourceOfAMixtureIsMeasured() throws {
        let other = try SmallDataset(shift: 40, hasValidation: true)
        let mixture = "data.sources=[{path: \(run.dataset.path), weight: 3}, {path: \(other.path), from_step: 9}]"
        let set = ["evaluation.every_steps=20", "evaluation.sequences=9"]
        try run.train("mixed", ranks: 2, set: set + ["data.path=none", mixture])
        let path = run.path("mixed").path
        let recorded = try #require(try run.records("mixed").last?.validation)
        // Both are called "set": the directory says which is which.
        let names = [run.dataset.path, other.path].map { $0.split(separator: "/").suffix(2).joined(separator: "/") }
        #expect(Set(recorded.losses.keys) == Set(["image", "text"] + names.flatMap { ["image/\($0)", "text/\($0)"] }))
        let (image, text) = (recorded.losses["image"] ?? 0, recorded.losses["text"] ?? 0)
        #expect(abs(recorded.loss - (text + 5 * image)) < 1e-9)
        for ranks in [1, 3] {
            let measured = try measure(path, ranks: ranks)
            #expect(measured.losses == recorded.losses, "\(ranks) ranks")
            #expect(Set(measured.counts.keys) == Set(recorded.losses.keys))
        }
        for (name, path) in zip(names, [run.dataset.path, other.path]) {
            let alone = try measure(run.path("mixed").path, overrides: ["data.sources=[]", "data.path=\(path)"])
            #expect(Set(alone.losses.keys) == ["image", "text"])
            for (part, value) in alone.losses { #expect(recorded.losses["\(part)/\(name)"] == value, "\(name)") }
            for (part, count) in alone.counts { #expect(count > 5, "\(part)") }
        }
    }

    @Test func runsWithOtherSeedsAreMeasuredOnTheSame() throws {
        let batches = try [1, 2].map { seed in
            try withSetup(["seed=\(seed)", "evaluation.sequences=8"]) { setup in
                try #require(try setup.task.heldOutBatches().first).makeBatch(0..<8)
            }
        }
        #expect(batches[0].layout.tokens == batches[1].layout.tokens && batches[0].latents == batches[1].latents)
        #expect(batches[0].noise == batches[1].noise && batches[0].timesteps == batches[1].timesteps)
    }

    @Test(.timeLimit(.minutes(5))) func recordsTellItWhereItWasMeasured() throws {
        let set = ["telemetry.log_every_steps=5", "evaluation.every_steps=6", "evaluation.sequences=8"]
        try run.train("whole", set: set)
        for step in [6, 11, 20] { try run.train("parts", lastStep: step, set: set) }
        let records = try run.records("whole")
        #expect(records.map(\.step) == [5, 6, 10, 12, 15, 18, 20])
        #expect(records.filter { $0.validation != nil }.map(\.step) == [6, 12, 18, 20])
        #expect(try run.records("parts").map(\.validation) == records.map(\.validation))
        #expect(try run.losses("parts") == run.losses("whole"))
        // Measuring changes nothing of the training, and training changes what is measured.
        try run.train("unmeasured")
        #expect(try run.tensors("unmeasured", step: 20) == run.tensors("whole", step: 20))
        let last = try #require(records.last?.validation), first = try #require(records[1].validation)
        #expect(last.loss < first.loss && Set(last.losses.keys) == ["image", "text"])
    }

    @Test(.timeLimit(.minutes(5))) func lossesOfACheckpointAreThoseThatTrainingRecorded() throws {
        let set = ["telemetry.log_every_steps=5", "evaluation.every_steps=10", "evaluation.sequences=9"]
        try run.train("measured", ranks: 2, set: set + ["checkpoint.every_steps=10"])
        let records = try run.records("measured").filter { $0.validation != nil }
        let checkpoints = run.path("measured").checkpoints
        for (record, path) in zip(
            records, ["\(checkpoints)/step-00000010", run.path("measured").path])
        {
            let recorded = try #require(record.validation)
            for ranks in [1, 2, 3] {
                let measured = try measure(path, ranks: ranks)
                #expect(measured.step == record.step && measured.counts["text"] ?? 0 > 50)
                #expect(abs(measured.loss / recorded.loss - 1) < 1e-9, "\(ranks) ranks")
                #expect(measured.losses.keys == recorded.losses.keys)
                for (name, value) in measured.losses {
                    #expect(abs(value / (recorded.losses[name] ?? 0) - 1) < 1e-9, "\(name), \(ranks) ranks")
                }
            }
        }
        let other = try measure(checkpoints, split: "train", sequences: 16)
        #expect(other.sequences == 16 && other.losses["text"] != records[1].validation?.losses["text"])
        let split = try measure(checkpoints, ranks: 2, overrides: ["parallel.tensor=2"])
        #expect(abs(split.loss / (records[1].validation?.loss ?? 0) - 1) < 1e-6)
    }

    private func measure(
        _ path: String, ranks: Int = 1, split: String = "validation", sequences: Int? = nil, overrides: [String] = []
    ) throws -> LossMeasurement.Report {
        try ThreadGroup.run(ranks: ranks) { group in
            var measurement = LossMeasurement(checkpoint: path)
            measurement.split = split
            measurement.sequences = sequences
            measurement.overrides = overrides
            return try measurement.run(group, ranksOnHost: ranks)
        }[0]
    }

    @Test func whatCannotBeMeasuredIsSaid() throws {
        try run.train("short", lastStep: 1)
        let path = run.path("short").path
        for (says, measure) in [
            ("split: \(run.dataset.path) has no split \"test\"", { try self.measure(path, split: "test") }),
            ("sequences: must lie between 1 and 65536, not 0", { try self.measure(path, sequences: 0) }),
            ("/no/such/set: is no data set", { try self.measure(path, overrides: ["data.path=/no/such/set"]) }),
            ("holds another model than", { try self.measure(path, overrides: ["model.layers=3"]) }),
            (
                "is not of a run, whose configuration would name data and batches; give a configuration",
                { try self.measure(Fixtures.path("texts")) }
            ),
        ] as [(String, () throws -> LossMeasurement.Report)] {
            #expect { _ = try measure() } throws: { "\($0)".contains(says) }
        }
    }

    @Test func dataWithoutTheSplitIsRefused() throws {
        let other = try TrainingRun()
        #expect {
            try other.train("run", set: ["evaluation.every_steps=5"])
        } throws: {
            "\($0)".contains("evaluation.every_steps: \(other.dataset.path) has no split \"validation\"")
        }
    }
}
