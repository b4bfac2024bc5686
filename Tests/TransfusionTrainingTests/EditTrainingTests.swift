import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import TransfusionParallel
import _TestUtilities

@testable import TransfusionTraining

/// Runs on data with edits.
@Suite(.timeLimit(.minutes(5))) struct EditTrainingTests {
    let run: TrainingRun

    init() throws { run = try TrainingRun(edits: 40, hasValidation: true) }

    private let common = ["parallel.reduction=elastic", "schedule.steps=8", "batch.micro_sequences=2"]

    @Test func ranksAndStopsGiveTheSameBits() throws {
        try run.train("whole", set: common)
        try run.train("two", ranks: 2, set: common)
        try run.train("parts", lastStep: 3, set: common)
        try run.train("parts", ranks: 2, set: common)
        for name in ["two", "parts"] {
            #expect(try run.losses(name) == run.losses("whole"))
            #expect(try run.tensors(name, step: 8) == run.tensors("whole", step: 8))
        }
        #expect(try run.losses("whole").allSatisfy(\.isFinite))
    }

    /// A checkpoint of pairs is gone on with on edits.
    @Test func aModelOfPairsIsFineTuned() throws {
        let pairs = try TrainingRun()
        try pairs.train("pairs", set: common)
        let weights = "model.initial_weights=\(pairs.path("pairs").path)"
        try run.train("edits", set: common + [weights])
        #expect(try run.losses("edits")[0] < pairs.losses("pairs")[0])
    }

    /// An original is shown as it is, and neither its pixels nor a prediction of them are in the loss.
    @Test func originalsHaveNoNoiseAndNoLoss() throws {
        let configuration = try run.configuration(common)
        let source = try BatchSource(configuration, data: DataMixture(PackedDataset(run.dataset.path)))
        let micro = try source.microBatch(step: 0, sequences: 0..<8)
        let batch = PreparedBatch(micro, step: 0, seed: 0)
        let clean = try #require(batch.isClean.firstIndex(of: true)), size = batch.latents.count / batch.isClean.count
        #expect(batch.isClean.count { $0 } > 2 && batch.isClean.contains(false))
        for (image, isClean) in batch.isClean.enumerated() {
            let noise = batch.noise[image * size..<(image + 1) * size]
            #expect(noise.allSatisfy { $0 == 0 } == isClean && (!isClean || batch.timesteps[image] == 0))
        }
        let context = Context(pool: ThreadPool(threads: 1), type: .f32)
        let model = TransfusionModel(source.model, context)
        model.parameters.initialize(seed: 3)
        /// The image loss when the model is shown `latents` and shall find `noise`.
        func loss(_ latents: [Float], _ noise: [Float], _ isClean: [Bool]) throws -> Double {
            let images = NoisedImages(
                latents: latents, noise: noise, timesteps: batch.timesteps, isClean: isClean,
                schedule: NoiseSchedule(), configuration: source.model, context)
            return try model.losses(
                batch.layout, images: images,
                weights: .init(targets: 1, images: 1, imageLossWeight: 1), context
            ).image
        }
        let own = try loss(batch.latents, batch.noise, batch.isClean)
        var noise = batch.noise
        noise[clean * size] = 9
        #expect(try loss(batch.latents, noise, batch.isClean) == own)
        #expect(try loss(batch.latents, batch.noise, []) != own)
        // But what it shows matters.
        var latents = batch.latents
        for i in clean * size..<(clean + 1) * size { latents[i] = -latents[i] }
        #expect(try loss(latents, batch.noise, batch.isClean) != own)
    }
}
