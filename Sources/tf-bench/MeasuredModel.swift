import ArgumentParser
import TransfusionConfig
import TransfusionCore
import TransfusionModels

/// The model that a benchmark runs, and the type that it computes in.
struct MeasuredModel: ParsableArguments {
    @Option(help: "A model size: \(ModelPreset.allCases.map(\.rawValue).joined(separator: ", ")).")
    var model = ModelPreset.size0_16B

    @Option(help: "auto (bf16 where the processor multiplies it), f32 or bf16.")
    var precision = RunConfiguration.Precision.bf16
}
