import Foundation
import Synchronization
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionTraining

/// Runs that train a part of their parameters, or parts at different rates.
@Suite struct FrozenParametersTests {
    private let run: TrainingRun
    /// Gradients that are not scaled down, so that what one parameter does is not the others' business.
    private let unclipped = "optimizer.clip_norm=1e30"
    private let frozen = #"optimizer.frozen=["model.layers.*"]"#

    init() throws { run = try TrainingRun() }

    private static func isOfBlock(_ name: String) -> Bool { name.hasPrefix("model.layers.") }

    private func weights(_ name: String, step: Int) throws -> [String: [Float]] {
        try run.tensors(name, step: step).filter { !$0.key.hasPrefix("optimizer.") }
    }

    /// The values of a run that has not begun.
    private func initial() throws -> [String: [Float]] {
        let context = Context(pool: ThreadPool(threads: 1), type: .f32)
        try run.train("source", lastStep: 1)
        let archive = try ModelArchive(run.path("source").path)
        let model = TransfusionModel(archive.configuration, context)
        model.parameters.initialize(seed: 0)
        return Dictionary(uniqueKeysWithValues: model.parameters.parameters.map { ($0.name, $0.value.floats()) })
    }

    @Test(.timeLimit(.minutes(5)), arguments: ["f32", "bf16"]) func everyLayoutKeepsTheBits(_ precision: String) throws
    {
        let before = try initial()
        let set = [frozen, "precision=\(precision)"]
        try run.train("reference", lastStep: 6, set: set)
        let reference = try run.tensors("reference", step: 6)
        let moments = reference.keys.filter { $0.hasPrefix("optimizer.") }
        #expect(!moments.contains { $0.contains("model.layers") })
        #expect(moments.count == 2 * before.keys.count { !Self.isOfBlock($0) })
        for (data, tensor, way) in [(1, 1, "none"), (2, 1, "full"), (1, 2, "selective"), (2, 2, "none")] {
            let name = "\(data)x\(tensor)"
            try run.train(
                name, ranks: data * tensor, lastStep: 6,
                set: set + ["parallel.tensor=\(tensor)", "parallel.recompute=\(way)"])
            let after = try run.tensors(name, step: 6)
            #expect(after.keys.sorted() == reference.keys.sorted())
            for (parameter, values) in before {
                #expect((after[parameter] == values) == Self.isOfBlock(parameter), "\(name): \(parameter)")
            }
            let bound = precision == "f32" ? 2e-5 : 2e-2
            #expect(largestRelativeDifference(try run.losses(name), try run.losses("reference")) < bound, "\(name)")
        }
    }

    /// Whatever is frozen, the gradients of the others are what they were.
    @Test func theOthersAreTrainedAsEver() throws {
        try run.train("whole", lastStep: 1, set: [unclipped])
        let whole = try weights("whole", step: 1), before = try initial()
        let patterns = [
            #"["model.layers.*"]"#, #"["*.weight"]"#, #"["*.bias", "*norm*"]"#, #"["model.*", "patch_encoder.*"]"#,
            #"["model.embed_tokens.*", "patch_encoder.*", "model.layers.0.*"]"#, #"["lm_head.weight"]"#,
        ]
        for (index, pattern) in patterns.enumerated() {
            let set = [unclipped, "optimizer.frozen=\(pattern)"]
            try run.train("\(index)", ranks: 2, lastStep: 1, set: set + ["parallel.tensor=2"])
            try run.train("\(index)-alone", lastStep: 1, set: set)
            let split = try weights("\(index)", step: 1)
            for (name, values) in try weights("\(index)-alone", step: 1) {
                let isFrozen = values == before[name]
                #expect(isFrozen || values == whole[name], "\(pattern): \(name)")
                #expect(isFrozen == (split[name] == before[name]), "\(pattern): \(name)")
            }
            let moved = try weights("\(index)-alone", step: 1).filter { $0.value != before[$0.key] }
            #expect(!moved.isEmpty && moved.count < before.count, "\(pattern)")
        }
    }

    @Test(.timeLimit(.minutes(2))) func elasticRunsGoOnWithTheSameBits() throws {
        let set = [frozen, "parallel.reduction=elastic"]
        try run.train("whole", set: set)
        for (step, ranks) in [(7, 1), (13, 4), (20, 2)] {
            try run.train("parts", ranks: ranks, lastStep: step, set: set)
        }
        #expect(try run.tensors("parts", step: 20) == run.tensors("whole", step: 20))
    }

    @Test func aRunMayFreezeMoreButNotLess() throws {
        try run.train("first", lastStep: 2)
        let path = run.path("first").checkpoints + "/step-00000002"
        try run.train("second", lastStep: 4, resume: .from(path), set: [frozen])
        let kept = try weights("first", step: 2), after = try weights("second", step: 4)
        #expect(kept.allSatisfy { (after[$0.key] == $0.value) == Self.isOfBlock($0.key) })
        #expect {
            try run.train(
                "third", lastStep: 6, resume: .from(run.path("second").checkpoints + "/step-00000004"))
        } throws: {
            "\($0)".contains("has no moments of model.layers.0.") && "\($0)".contains("optimizer.frozen")
        }
    }

    /// The first step of Adam is the learning rate, whatever the gradient.
    @Test func learningRatesGoByPatterns() throws {
        let before = try initial()
        let set = [unclipped, "optimizer.weight_decay=0", "optimizer.epsilon=1e-12"]
        try run.train("even", lastStep: 1, set: set)
        let rates =
            #"optimizer.learning_rate_factors={"model.*": 0.5, "*norm*": 3, "model.layers.1.mlp.down_proj.weight": 0.25}"#
        try run.train("uneven", ranks: 4, lastStep: 1, set: set + [rates, "parallel.tensor=2"])
        let even = try weights("even", step: 1), uneven = try weights("uneven", step: 1)
        for (name, start) in before {
            let factor: Float =
                name == "model.layers.1.mlp.down_proj.weight"
                ? 0.25 : name.contains("norm") ? 3 : name.hasPrefix("model.") ? 0.5 : 1
            func change(_ values: [Float]?) -> Float {
                zip(values ?? [], start).reduce(0) { max($0, abs($1.0 - $1.1)) }
            }
            let ratio = change(uneven[name]) / change(even[name])
            #expect(abs(ratio - factor) < 2e-3 * factor, "\(name): \(ratio)")
        }
    }

    /// Neither gradients nor moments, and no backward pass below what is trained.
    @Test func whatIsFrozenTakesNoMemory() throws {
        let model = ModelConfiguration(
            layers: 4, width: 64, heads: 4, feedForward: 128, vocabulary: 500, patchSize: 2, imageChannels: 3,
            imageHeight: 8, imageWidth: 8, beginOfText: 1, endOfText: 2, beginOfImage: 498, endOfImage: 499)
        var layout = MemoryPlan.Layout()
        layout.type = .f32
        layout.saving = .never
        let sizes = MicroBatchSizes(sequenceLength: 128, images: 2, targets: 96)
        func plan(_ frozen: [String]) throws -> (memory: MemoryPlan, pass: PassCost) {
            layout.rules.frozen = frozen
            let pass = try TransfusionModel.cost(model, layout, sizes)
            return (MemoryPlan(model, layout, pass, images: 2, programBytes: 0), pass)
        }
        let all = try plan([]), blocks = try plan(["model.layers.*"])
        let top = try plan(["model.embed_tokens.*", "patch_encoder.*", "model.layers.0.*", "model.layers.1.*"])
        let inBlocks = TransfusionModel.parameters(model).filter { $0.name.hasPrefix("model.layers.") }
            .reduce(0) { $0 + $1.globalCount }
        #expect(blocks.memory.weights == all.memory.weights)
        #expect(blocks.memory.gradients == all.memory.gradients - 4 * inBlocks)
        #expect(blocks.memory.moments == all.memory.moments - 8 * inBlocks)
        // Of three products of each weight in the blocks, one is left out; of the lower two blocks, two.
        let products = 2 * 128 * Double(inBlocks - 4 * 2 * 64)
        #expect(blocks.pass.work.operations == all.pass.work.operations - products)
        #expect(top.pass.work.operations < all.pass.work.operations - products)
        #expect(Double(top.memory.activations) < 0.75 * Double(all.memory.activations))

        let report = Mutex<[String]>([])
        try run.train("run", lastStep: 1, set: [frozen]) { line in report.withLock { $0.append(line) } }
        #expect(report.withLock { $0.contains { $0.contains("of them frozen") } })
    }
}
