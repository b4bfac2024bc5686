import ArgumentParser
import TransfusionConfig
import TransfusionCore
import TransfusionEvaluation
import TransfusionSupport

struct ForwardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forward",
        abstract: "Sends one explicit batch through a model, for comparison with another implementation.",
        discussion: """
            tf-eval forward -m model --batch in.safetensors --out out.safetensors

            The batch holds tokens i32 [T] (-1 at patches), document_starts i32 [D],
            image_starts i32 [N], latents and noise f32 [N, C, H, W], and timesteps
            i32 [N] from 0. The result holds logits f32 [T, V], noise_prediction
            f32 [N, C, H, W], loss, one loss_<name> for each part of it, and with
            --gradients one grad.<name> for each parameter.
            """)

    @Option(
        name: [.customLong("checkpoint"), .customShort("m")],
        help: "A run, its checkpoints, one checkpoint, or a directory of weights: safetensors, hf-llama or meta-llama.")
    var checkpoint: String

    @Option(help: "A safetensors file with the batch.")
    var batch: String

    @Option(
        name: [.customLong("out"), .customShort("o")], help: "The safetensors file to write; replaces an older one.")
    var out: String

    @Flag(help: "Compute the gradient of every parameter too.")
    var gradients = false

    @Option(help: "λ in the total loss and its gradients; by default that of the run, 5 for a model without one.")
    var imageLossWeight: Double?

    @Option(help: "auto (bf16 where the processor multiplies it), f32 or bf16.")
    var precision = RunConfiguration.Precision.f32

    @OptionGroup var threads: ThreadsOption

    @Flag(help: "Print the losses as JSON.")
    var json = false

    func validate() throws {
        if let imageLossWeight, !(0...1e6).contains(imageLossWeight) {
            throw ValidationError("--image-loss-weight must lie between 0 and 1000000, not \(imageLossWeight)")
        }
    }

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var evaluation = ForwardEvaluation(checkpoint: checkpoint, batch: batch, output: out)
        evaluation.computesGradients = gradients
        evaluation.imageLossWeight = imageLossWeight
        evaluation.threads = threads.count
        evaluation.type = precision.type()
        let report = try evaluation.run { StandardStream.error.write("warning: \($0)\n") }
        if json {
            print(try JSONText.line(report))
        } else {
            print(report.namedLosses.map { "\($0.name) \($0.value)" }.joined(separator: " "))
        }
    }
}
