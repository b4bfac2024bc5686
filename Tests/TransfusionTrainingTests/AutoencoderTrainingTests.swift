import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import TransfusionParallel
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// An autoencoder learns, and is the same whatever ranks train it and however often it is interrupted.
@Suite struct AutoencoderTrainingTests {
    private let run: TrainingRun

    init() throws { run = try TrainingRun() }

    private func configuration(_ overrides: [String]) throws -> RunConfiguration {
        try RunConfiguration(
            yaml: """
                task: autoencoder
                autoencoder: {preset: small}
                data: {path: \(run.dataset.path)}
                schedule: {steps: 6, learning_rate: 1e-3, minimum_learning_rate: 1e-4, warmup_steps: 2}
                optimizer: {weight_decay: 0}
                batch: {global_sequences: 8, micro_sequences: 2}
                parallel: {threads: 1, reduction: elastic}
                precision: f32
                checkpoint: {every_steps: 100, asynchronous: false}
                telemetry: {tensorboard: false}
                """, overrides: overrides)
    }

    private func train(
        _ name: String, ranks: Int = 1, lastStep: Int? = nil, from path: String? = nil, set overrides: [String] = []
    ) throws {
        let configuration = try configuration(overrides), directory = run.path(name)
        _ = try ThreadGroup.run(ranks: ranks) { group in
            var options = TrainingOptions()
            options.lastStep = lastStep
            if let path { options.resume = .from(path) }
            return try TrainingLoop<AutoencoderTask>(
                configuration, directory: directory, group: group, options: options, log: { _ in }
            ) {
                try TrainingSetup(configuration, group: group, ranksOnHost: ranks)
            }.run()
        }
    }

    @Test(.timeLimit(.minutes(5)), arguments: ["kl", "vq"])
    func aRunGivesTheSameBitsOnAnyRanksAndAfterResuming(_ kind: String) throws {
        let set = ["autoencoder.kind=\(kind)"]
        try train("whole", set: set)
        try train("two", ranks: 2, set: set)
        try train("parts", lastStep: 2, set: set)
        try train("parts", ranks: 2, lastStep: 3, set: set)
        try train("parts", set: set)
        try train("recomputed", set: set + ["parallel.recompute=full"])
        let whole = try run.tensors("whole", step: 6)
        for other in ["two", "parts", "recomputed"] {
            #expect(try run.tensors(other, step: 6) == whole, "\(other)")
            #expect(try run.losses(other) == run.losses("whole"), "\(other)")
        }
        let record = try #require(run.records("whole").last)
        #expect(
            record.losses.keys.sorted()
                == (kind == "kl"
                    ? ["kl", "reconstruction"] : ["code_perplexity", "codebook", "codes_used", "reconstruction"]))
        #expect(record.images == 48)
        let weights = try AutoencoderWeights(run.path("whole").path)
        #expect(weights.step == 6 && weights.configuration.kind.rawValue == kind)
        #expect(weights.configuration.pictureSize == 8)
    }

    /// Codes of averages or by gradient, of any length or of length 1, replaced when they are not used; the average weights too.
    @Test(
        .timeLimit(.minutes(5)),
        arguments: [
            ["autoencoder.codebook=ema", "precision=bf16"],
            ["autoencoder.codebook=ema", "autoencoder.code_norm=l2", "autoencoder.average_decay=0.5"],
            ["autoencoder.code_norm=l2", "autoencoder.average_decay=0.5", "precision=bf16"],
        ])
    func codebooksAreTheSameOnAnyRanksAndAfterResuming(_ form: [String]) throws {
        let set =
            form + [
                "autoencoder.kind=vq", "autoencoder.codebook_decay=0.5", "autoencoder.revive_codes_below=0.2",
                "checkpoint.every_steps=1", "checkpoint.keep.last=99",
            ]
        try train("whole", set: set)
        try train("two", ranks: 2, set: set)
        try train("four", ranks: 4, set: set)
        for (step, ranks) in [(2, 2), (3, 4), (4, 1), (6, 2)] {
            try train("parts", ranks: ranks, lastStep: step, set: set)
        }
        let isAveraged = form.contains("autoencoder.codebook=ema")
        for step in [1, 4, 6] {
            let whole = try run.tensors("whole", step: step)
            #expect(whole["codebook.use"]?.count == 1024 && (whole["codebook.sums"] != nil) == isAveraged)
            #expect((whole["optimizer.exp_avg.quantize.embedding.weight"] == nil) == isAveraged)
            for other in ["two", "four", "parts"] {
                #expect(try run.tensors(other, step: step) == whole, "\(other), step \(step)")
            }
        }
        let records = try run.records("whole").map(\.losses)
        for other in ["two", "four", "parts"] { #expect(try run.records(other).map(\.losses) == records, "\(other)") }
        // Nobody's use is below a fifth before the third step: 1, 0.5, 0.25, 0.125. Then 32 features are there for it.
        #expect(records.compactMap { $0["codes_revived"] }.prefix(3) == [0, 0, 32])
        #expect(records.allSatisfy { ($0["codebook"] ?? 0) > 0 && $0["codes_used"] != nil })
        let weights = try AutoencoderWeights(run.path("whole").path)
        #expect(weights.configuration.codeNorm == (form.contains("autoencoder.code_norm=l2") ? .l2 : .none))
        #expect(weights.tensors.keys.allSatisfy { !$0.hasPrefix("codebook.") && !$0.hasPrefix("average.") })
    }

    /// The loss that moves features is a quarter of the squared error; with codes that follow a gradient there is their part too.
    @Test(.timeLimit(.minutes(5))) func aCodebookOfAveragesHasNoLossOfItsOwn() throws {
        try train("gradient", lastStep: 1, set: ["autoencoder.kind=vq"])
        try train("ema", lastStep: 1, set: ["autoencoder.kind=vq", "autoencoder.codebook=ema"])
        let losses = try ["gradient", "ema"].map { try #require(run.records($0)[0].losses["codebook"]) }
        // Both are rounded, and so is their ratio.
        #expect(losses[1] > 0 && abs(losses[0] - 5 * losses[1]) <= 2 * losses[0].ulp)
    }

    @Test(.timeLimit(.minutes(5))) func aRunGoesOnWithItsKindOfCodebookOnly() throws {
        let set = ["autoencoder.kind=vq"]
        try train("run", lastStep: 2, set: set)
        let error = #expect(throws: SharedFailure.self) {
            try train("other", from: run.path("run").path, set: set + ["autoencoder.codebook=ema"])
        }
        #expect(
            error?.failure.description.contains(
                "its codebook was trained with autoencoder.codebook: gradient; give that, or start a new run with "
                    + "model.initial_weights") == true, "\(String(describing: error))")
        // Runs from before use was counted go on, as if all codes had been used alike.
        try train("whole", set: set)
        let old = try CheckpointStore(run.path("run").checkpoints).open(step: 2)
        let pieces = old.tensors.values.filter { !$0.name.hasPrefix("codebook.") }.map { box in
            ShardPiece(box) { range, buffer in
                var bytes = [UInt8](repeating: 0, count: box.byteCount)
                try bytes.withUnsafeMutableBytes { try old.read(box, into: $0) }
                bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range])) }
            }
        }
        try CheckpointStore(run.path("old").checkpoints).save(step: 2, metadata: old.metadata, pieces: pieces)
        try train("old", set: set)
        var ours = try run.tensors("old", step: 6), whole = try run.tensors("whole", step: 6)
        let use = ours.removeValue(forKey: "codebook.use"), counted = whole.removeValue(forKey: "codebook.use")
        #expect(use?.count == counted?.count && use != counted && ours == whole)
        // A new run may take the weights for another kind of codebook, and not for codes of another length.
        let weights = "model.initial_weights=\(run.path("run").path)"
        try train("second", lastStep: 1, set: set + ["autoencoder.codebook=ema", weights])
        let other = #expect(throws: SharedFailure.self) {
            try train("third", set: set + ["autoencoder.code_norm=l2", weights])
        }
        #expect(
            other?.failure.description.contains(
                "is another autoencoder than autoencoder.preset small with kind vq and code_norm l2") == true)
    }

    /// The discriminator learns alone in steps 1 and 2, and is heard from step 2 on, counted from 0.
    private let adversarial = [
        "discriminator.start=2", "discriminator.warmup_steps=1", "discriminator.ramp_steps=2",
        "discriminator.layers=1", "discriminator.width=8",
    ]

    @Test(.timeLimit(.minutes(5)), arguments: ["kl", "vq"])
    func aRunWithADiscriminatorGivesTheSameBitsOnAnyRanksAndAfterResuming(_ kind: String) throws {
        let set = adversarial + ["autoencoder.kind=\(kind)", "checkpoint.every_steps=1", "checkpoint.keep.last=99"]
        try train("whole", set: set)
        try train("two", ranks: 2, set: set)
        try train("four", ranks: 4, set: set)
        // Before the discriminator begins, while it learns alone, and when it is heard.
        for (step, ranks) in [(1, 1), (2, 2), (4, 4), (6, 1)] {
            try train("parts", ranks: ranks, lastStep: step, set: set)
        }
        try train("recomputed", set: set + ["parallel.recompute=full"])
        for step in [2, 3, 6] {
            let whole = try run.tensors("whole", step: step)
            #expect(whole["discriminator.main.0.weight"] != nil)
            for other in ["two", "four", "parts", "recomputed"] {
                #expect(try run.tensors(other, step: step) == whole, "\(other), step \(step)")
            }
        }
        let records = try run.records("whole").map(\.losses)
        for other in ["two", "four", "parts", "recomputed"] {
            #expect(try run.records(other).map(\.losses) == records, "\(other)")
        }
        let own = ["discriminator", "discriminator_real", "discriminator_reconstructed"]
        let always = (kind == "kl" ? ["kl"] : ["code_perplexity", "codebook", "codes_used"]) + ["reconstruction"]
        #expect(records[0].keys.sorted() == always.sorted())
        #expect(records[1].keys.sorted() == (always + own).sorted())
        #expect(records[2].keys.sorted() == (always + own + ["adaptive_weight", "adversarial"]).sorted())
        let weights = try AutoencoderWeights(run.path("whole").path)
        #expect(weights.tensors.keys.allSatisfy { !$0.hasPrefix("discriminator") })
    }

    /// The average follows the weights, whoever trains them, and is what others read.
    @Test(.timeLimit(.minutes(5))) func anAverageOfTheWeightsIsKept() throws {
        let set = ["autoencoder.average_decay=0.5", "checkpoint.every_steps=1", "checkpoint.keep.last=99"]
        try train("whole", set: set)
        try train("parts", ranks: 2, lastStep: 3, set: set)
        try train("parts", ranks: 4, set: set)
        #expect(try run.tensors("parts", step: 6) == run.tensors("whole", step: 6))
        let name = "decoder.conv_out.weight"
        let weights = try (1...6).map { try #require(run.tensors("whole", step: $0)[name]) }
        var expected = weights[0]
        for (step, values) in weights.enumerated().dropFirst() {
            let kept = min(0.5, Float(1 + step) / Float(10 + step))
            for index in expected.indices { expected[index] += (1 - kept) * (values[index] - expected[index]) }
        }
        let average = try #require(run.tensors("whole", step: 6)["average." + name])
        #expect(relativeError(average, expected) < 1e-6 && relativeError(average, weights[5]) > 1e-4)
        let read = try AutoencoderWeights(run.path("whole").path)
        let context = Context(pool: ThreadPool(threads: 1), type: .f32)
        let model = Autoencoder(read.configuration, context)
        try read.load(into: model.parameters)
        #expect(model.parameters[name]?.value.floats() == average)
    }

    /// An adversarial weight of zero trains the discriminator, and leaves the autoencoder as it is without one.
    @Test(.timeLimit(.minutes(5))) func aDiscriminatorThatDoesNotCountChangesNothing() throws {
        try train("without")
        try train("with", set: adversarial + ["objective.adversarial_weight=0", "discriminator.weight=fixed"])
        let without = try run.tensors("without", step: 6), with = try run.tensors("with", step: 6)
        for (name, values) in without { #expect(with[name] == values, "\(name)") }
        let record = try #require(run.records("with").last)
        #expect(record.losses["adversarial"] == 0 && record.losses["adaptive_weight"] == nil)
    }

    @Test func aDiscriminatorThatCannotPlayIsRefused() throws {
        let late = #expect(throws: ConfigurationError.self) { try configuration(["discriminator.start=6"]) }
        #expect(
            late?.problems.map(\.description).joined().contains(
                "discriminator.start: 6 is not before the end of the run after 6 steps") == true,
            "\(String(describing: late))")
        let large = #expect(throws: SharedFailure.self) {
            try train("run", set: ["discriminator.start=1", "discriminator.layers=2"])
        }
        #expect(
            large?.failure.description.contains(
                "2 layers judge pictures of at least 12 pixels a side, and the data set's have 8; use fewer") == true)
    }

    @Test(.timeLimit(.minutes(5))) func picturesComeBackEverBetterAndAreShown() throws {
        try train(
            "run",
            set: ["schedule.steps=60", "schedule.learning_rate=2e-3", "samples.every_steps=30", "precision=bf16"])
        let losses = try run.records("run").compactMap { $0.losses["reconstruction"] }
        #expect(losses.count == 60 && losses.allSatisfy(\.isFinite))
        #expect(losses[55...].reduce(0, +) < 0.7 * losses[..<5].reduce(0, +), "\(losses)")
        let names = try FileManager.default.contentsOfDirectory(atPath: run.path("run").samples + "/step-00000060")
        #expect(names.sorted() == (0..<8).map { "00000\($0).png" } + ["grid.png"])
    }

    /// The loss of a step is what `Autoencoder` says of all its pictures at once.
    @Test(.timeLimit(.minutes(5))) func theLossIsThatOfTheWholeBatch() throws {
        try train("run", lastStep: 1, set: ["objective.kl_weight=0.01"])
        let configuration = try configuration(["objective.kl_weight=0.01"])
        let loss = try ThreadGroup.run(ranks: 1) { group in
            let setup = try TrainingSetup<AutoencoderTask>(configuration, group: group, ranksOnHost: 1)
            let task = setup.task, context = setup.resources.context
            _ = try task.begin(from: nil, options: CheckpointOptions())
            let batch = try task.makeBatch(BatchAddress(step: 0, sequences: 0..<8))
            let target = context.pictures(batch.pictures, [8, 3, 8, 8], .f32)
            let pass = task.model.reconstruct(
                target, target: target, noise: context.pictures(batch.noise, [8, 4, 2, 2], .f32),
                scales: .init(absoluteError: 0, latentError: 0), context)
            let pixels = pass.absoluteErrors.reduce(0, +) / Double(8 * 192)
            let divergence = pass.latentErrors.reduce(0, +) / Double(8)
            return pixels + 0.01 * divergence
        }[0]
        #expect(abs(try run.losses("run")[0] / loss - 1) < 1e-5)
    }

    @Test func weightsOfAnotherAutoencoderAreRefused() throws {
        let other = Fixtures.path("autoencoder/kl")
        let error = #expect(throws: SharedFailure.self) { try train("run", set: ["model.initial_weights=\(other)"]) }
        #expect(
            error?.failure.description.contains(
                "is another autoencoder than autoencoder.preset small with kind kl") == true)
    }

    /// The paper's autoencoder on pictures of 8 × 8: 86M weights of 16 bytes with gradient and moments, twice 4 for the sums of
    /// four micro-batches, and little beside them.
    @Test func whatDoesNotFitIsRefusedBeforeItIsMade() throws {
        func problem(_ limit: Int, _ overrides: [String]) throws -> String? {
            let configuration = try configuration(overrides)
            let path = run.dataset.path
            return try ThreadGroup.run(ranks: 1) { group in
                let resources = try TrainingResources(configuration, group: group, ranksOnHost: 2)
                let source = try PictureStream(configuration, dataset: PackedDataset(path))
                do {
                    try AutoencoderTask.checkMemory(configuration, source, resources, programBytes: 0, limit: limit)
                    return nil
                } catch { return "\(error)" }
            }[0]
        }
        let paper = ["autoencoder.preset=paper"]
        #expect(try problem(2 * 86_000_000 * 24, paper) != nil)
        #expect(try problem(2 * 86_000_000 * 28, paper) == nil)
        let expected = try #require(try problem(1 << 20, []))
        #expect(
            expected.hasPrefix("memory: 2 ranks of this host would need ")
                && expected.hasSuffix(
                    "take a smaller batch.micro_sequences, parallel.recompute: full, or a smaller autoencoder.preset "
                        + "('tf-coord plan' compares layouts)")
        )
    }

    /// The planner runs the same passes with sizes only.
    @Test(
        .timeLimit(.minutes(5)),
        arguments: [
            [], ["parallel.recompute=full"], ["autoencoder.kind=vq", "autoencoder.codebook=ema"],
            ["discriminator.start=0", "discriminator.layers=1", "discriminator.width=8"],
            [
                "discriminator.start=0", "discriminator.layers=1", "discriminator.width=8",
                "discriminator.weight=fixed",
                "autoencoder.kind=vq", "autoencoder.code_norm=l2", "precision=bf16", "parallel.recompute=full",
            ],
        ])
    func aStepTakesWhatThePlanSays(_ set: [String]) throws {
        let configuration = try configuration(set)
        _ = try ThreadGroup.run(ranks: 1) { group in
            let setup = try TrainingSetup<AutoencoderTask>(configuration, group: group, ranksOnHost: 1)
            let context = setup.resources.context, task = setup.task
            _ = try task.begin(from: nil, options: CheckpointOptions())
            let steps = StepTrainer(
                task, setup.resources, setup.state, batch: .init(globalSequences: 8, microSequences: 2),
                timer: PhaseTimer())
            // The sums of the reduction have their memory from the first step on.
            _ = try steps.train()
            let work = context.work, live = context.allocator.liveBytes
            context.allocator.resetPeak()
            _ = try steps.train()
            let layout = MemoryPlan.Layout(configuration, data: 1, hosts: 1, type: context.type)
            let planned = PlannedAutoencoder(configuration, channels: 3, height: 8, width: 8)
            let cost = try planned.cost(layout, sequences: 2)
            #expect(abs((context.work.operations - work.operations) / (4 * cost.work.operations) - 1) < 1e-9)
            #expect(abs(context.work.recomputed - work.recomputed - 4 * cost.work.recomputed) < 1)
            let bytes = context.allocator.peakBytes - live
            #expect(abs(Double(cost.peakBytes) / Double(bytes) - 1) < 0.1, "\(cost.peakBytes) and \(bytes) bytes")
            #expect(
                planned.sizes(layout, sequences: 2).elements.trained
                    == task.players.prefix(2).reduce(0) { $0 + ($1.parameters.gradients?.count ?? 0) })
            #expect(setup.memory?.total ?? 0 > cost.residentBytes)
        }
    }

    @Test(.timeLimit(.minutes(5))) func aRunStartsFromTheWeightsOfAnother() throws {
        try train("first")
        try train("second", lastStep: 1, set: ["model.initial_weights=\(run.path("first").path)"])
        #expect(try run.losses("second")[0] < run.losses("first")[0])
    }
}
