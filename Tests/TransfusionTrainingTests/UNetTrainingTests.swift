import Testing
import TransfusionConfig
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// A model with a U-Net through everything that a run does with its weights.
@Suite struct UNetTrainingTests {
    private static let set = [
        "model.layers=1", "model.patch_coder=unet", "schedule.steps=4", "schedule.warmup_steps=1",
        "batch.global_sequences=4",
    ]

    private func train(
        _ run: TrainingRun, _ name: String, ranks: Int = 1, lastStep: Int? = nil, _ set: [String] = []
    ) throws {
        try run.train(name, ranks: ranks, lastStep: lastStep, set: Self.set + set)
    }

    @Test(.timeLimit(.minutes(5))) func itTrainsAlikeOnAnyRanks() throws {
        let run = try TrainingRun()
        try train(run, "whole")
        let losses = try run.losses("whole")
        #expect(losses[3] < losses[0])
        #expect(
            try run.tensors("whole", step: 4).keys.contains("patch_decoder.up_blocks.1.resnets.2.time_emb_proj.weight"))
        try train(run, "data", ranks: 2)
        try train(run, "tensor", ranks: 2, ["parallel.tensor=2"])
        try train(run, "rows", ranks: 2, ["parallel.tensor=2", "parallel.sequence_parallel=true"])
        for name in ["data", "tensor", "rows"] {
            #expect(largestRelativeDifference(try run.losses(name), losses) < 1e-4, "\(name)")
        }
    }

    @Test(.timeLimit(.minutes(5))) func elasticRunsAndResumedOnesHaveTheSameBits() throws {
        let run = try TrainingRun(), elastic = ["parallel.reduction=elastic"]
        try train(run, "one", elastic)
        try train(run, "two", ranks: 2, lastStep: 2, elastic)
        try train(run, "two", elastic)
        #expect(try run.losses("two") == run.losses("one"))
        #expect(try run.tensors("two", step: 4) == run.tensors("one", step: 4))
        try train(run, "again", elastic + ["parallel.recompute=full"])
        #expect(try run.tensors("again", step: 4) == run.tensors("one", step: 4))
    }

    @Test(.timeLimit(.minutes(5))) func itTrainsInBF16() throws {
        let run = try TrainingRun()
        try train(run, "wide")
        try train(run, "narrow", ["precision=bf16"])
        #expect(largestRelativeDifference(try run.losses("narrow"), try run.losses("wide")) < 3e-2)
    }
}
