import ArgumentParser
import TransfusionCore

/// The model that a benchmark runs, and the type that it computes in.
struct MeasuredModel: ParsableArguments {
    @Option(help: "A model size: \(ModelPreset.allCases.map(\.rawValue).joined(separator: ", ")).")
    var model = ModelPreset.size0_16B

    @Option(help: "bf16 or f32.")
    var precision = ElementType.bf16

    func validate() throws {
        guard precision == .bf16 || precision == .f32 else { throw ValidationError("--precision: bf16 or f32") }
    }
}
