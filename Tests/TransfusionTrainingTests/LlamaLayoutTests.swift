import Foundation
import Testing
import TransfusionConfig
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// What a layout could do wrong with the options of the Llama family: shared heads of keys, a table that is used twice,
/// vectors that each rank has a part of, and vectors that all ranks have but meet in part only.
@Suite struct LlamaLayoutTests {
    private static let steps = 6
    private static let options = [
        "model.heads=12", "model.kv_heads=6", "model.head_width=8", "model.tied_embeddings=true",
        "model.attention_bias=qkvo", "model.qk_norm=true", "model.rope_scaling.factor=4",
        "model.rope_scaling.original_context=32",
    ]
    private let run: TrainingRun

    init() throws {
        run = try TrainingRun()
    }

    private func train(_ name: String, data: Int, tensor: Int, _ overrides: [String] = []) throws -> [StepRecord] {
        try run.train(
            name, ranks: data * tensor, lastStep: Self.steps,
            set: Self.options + ["parallel.data=\(data)", "parallel.tensor=\(tensor)"] + overrides)
        return try run.records(name)
    }

    @Test(.timeLimit(.minutes(5))) func everyLayoutTrainsTheSameModel() throws {
        let reference = try train("reference", data: 1, tensor: 1)
        #expect(reference.count == Self.steps && reference[5].loss < reference[0].loss)
        let names = try run.tensors("reference", step: Self.steps).keys.sorted()
        #expect(!names.contains { $0.contains("lm_head") })
        #expect(names.contains("model.layers.1.self_attn.o_proj.bias"))
        let ways = [
            ["parallel.recompute=none"], ["parallel.recompute=selective"],
            ["parallel.recompute=full", "parallel.sequence_parallel=false"],
        ]
        for data in [1, 2] {
            for tensor in [1, 2, 3] {
                for (index, way) in ways.enumerated() {
                    let name = "\(data)x\(tensor)-\(index)"
                    let records = try train(name, data: data, tensor: tensor, way)
                    let losses = largestRelativeDifference(records.map(\.loss), reference.map(\.loss))
                    #expect(losses <= 2e-5, "\(name)")
                    let norms = largestRelativeDifference(
                        records.map(\.gradientNorm), reference.map(\.gradientNorm))
                    #expect(norms <= 1e-3, "\(name)")
                    #expect(try run.tensors(name, step: Self.steps).keys.sorted() == names, "\(name)")
                }
            }
        }
    }

    /// More ranks than heads of keys: several hold the same one.
    @Test(.timeLimit(.minutes(10)), arguments: [1, 2, 3]) func ranksShareTheHeadsOfKeys(_ keyHeads: Int) throws {
        let heads = ["model.kv_heads=\(keyHeads)"], steps = 20
        func train(_ name: String, data: Int, tensor: Int, lastStep: Int = steps, _ more: [String] = []) throws {
            try run.train(
                name, ranks: data * tensor, lastStep: lastStep,
                set: Self.options + heads + ["parallel.data=\(data)", "parallel.tensor=\(tensor)"] + more)
        }
        try train("reference", data: 1, tensor: 1)
        let reference = try run.records("reference"), names = try run.tensors("reference", step: steps).keys.sorted()
        func check(_ name: String) throws {
            let records = try run.records(name)
            #expect(largestRelativeDifference(records.map(\.loss), reference.map(\.loss)) <= 2e-5, "\(name)")
            let norms = largestRelativeDifference(records.map(\.gradientNorm), reference.map(\.gradientNorm))
            #expect(norms <= 1e-3, "\(name)")
            #expect(try run.tensors(name, step: steps).keys.sorted() == names, "\(name)")
        }
        let sizes = [2, 4, 6].filter { $0 > keyHeads && $0 % keyHeads == 0 }
        for (index, tensor) in sizes.enumerated() {
            let way = ["parallel.recompute=\(["none", "selective", "full"][index])"]
            try train("tensor \(tensor)", data: 1, tensor: tensor, way)
            try check("tensor \(tensor)")
        }
        // From one layout to the next, through checkpoints.
        for (step, data, tensor) in [(5, 1, sizes[0]), (10, 2, 1), (15, 1, 6), (20, 1, sizes[0])] {
            try train("moving", data: data, tensor: tensor, lastStep: step)
        }
        try check("moving")
        // Any number of data-parallel ranks has the same bits.
        let elastic = ["parallel.reduction=elastic", "parallel.sequence_parallel=\(keyHeads != 2)"]
        for data in [1, 2] { try train("elastic \(data)", data: data, tensor: sizes[0], lastStep: 6, elastic) }
        #expect(try run.tensors("elastic 1", step: 6) == run.tensors("elastic 2", step: 6))
    }

    /// Chameleon's recipe: biases that all ranks have, norms after the layers, and a loss of what the ranks sum together.
    @Test(.timeLimit(.minutes(5))) func everyLayoutTrainsTheSameChameleon() throws {
        func train(_ name: String, data: Int, tensor: Int, _ overrides: [String] = []) throws -> [StepRecord] {
            try run.train(
                name, ranks: data * tensor, lastStep: Self.steps,
                set: [
                    "model.qk_norm=layer", "model.norm=post", "objective.z_loss=0.01", "parallel.data=\(data)",
                    "parallel.tensor=\(tensor)",
                ] + overrides)
            return try run.records(name)
        }
        let reference = try train("reference", data: 1, tensor: 1)
        #expect(reference.count == Self.steps && reference[5].loss < reference[0].loss)
        for record in reference {
            let parts = try ["text", "image", "z"].map { try #require(record.losses[$0]) }
            #expect(abs(record.loss - parts[0] - 5 * parts[1] - 0.01 * parts[2]) < 1e-6 * record.loss)
        }
        let ways = [["parallel.recompute=selective"], ["parallel.recompute=full", "parallel.sequence_parallel=false"]]
        for (data, tensor) in [(1, 2), (2, 1), (2, 2)] {
            for (index, way) in ways.enumerated() {
                let name = "\(data)x\(tensor)-\(index)", records = try train(name, data: data, tensor: tensor, way)
                #expect(largestRelativeDifference(records.map(\.loss), reference.map(\.loss)) <= 2e-5, "\(name)")
                let z = records.compactMap { $0.losses["z"] }
                #expect(largestRelativeDifference(z, reference.compactMap { $0.losses["z"] }) <= 2e-5, "\(name)")
                let norms = largestRelativeDifference(records.map(\.gradientNorm), reference.map(\.gradientNorm))
                #expect(norms <= 1e-3, "\(name)")
            }
        }
    }
}
