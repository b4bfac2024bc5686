import ArgumentParser
import TransfusionConfig
import TransfusionCore
import TransfusionEvaluation
import TransfusionSupport

struct AutoencodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "autoencode",
        abstract: "Sends one explicit batch of pictures through an autoencoder, for comparison with another.",
        discussion: """
            tf-eval autoencode -m vae --batch in.safetensors --out out.safetensors

            The batch holds images f32 [N, 3, H, W] in [-1, 1], and noise f32
            [N, c, h, w] where latents are drawn; without noise their means are decoded.
            The result holds reconstruction, loss_reconstruction (mean absolute error),
            mean, logvar, latents, loss_kl (summed over a picture's latents, mean over
            pictures) or codes i32 [N, h, w], loss_codebook; and with --gradients one
            grad.<name> for each parameter, of loss_reconstruction + 1e-6 · loss_kl or
            of loss_reconstruction + loss_codebook.
            """)

    @Option(
        name: [.customLong("checkpoint"), .customShort("m")],
        help: "A run, its checkpoints, one checkpoint, or an autoencoder of diffusers.")
    var checkpoint: String

    @Option(help: "A safetensors file with the batch.")
    var batch: String

    @Option(
        name: [.customLong("out"), .customShort("o")], help: "The safetensors file to write; replaces an older one.")
    var out: String

    @Flag(help: "Compute the gradient of every parameter too.")
    var gradients = false

    @Option(help: "auto (bf16 where the processor multiplies it), f32 or bf16.")
    var precision = RunConfiguration.Precision.f32

    @OptionGroup var threads: ThreadsOption

    @Flag(help: "Print the losses as JSON.")
    var json = false

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var evaluation = AutoencodeEvaluation(checkpoint: checkpoint, batch: batch, output: out)
        evaluation.computesGradients = gradients
        evaluation.threads = threads.count
        evaluation.type = precision.type()
        let report = try evaluation.run()
        if json {
            print(try JSONText.line(report))
        } else {
            let latents =
                report.lossDivergence.map { "loss_kl \($0)" } ?? report.lossCodebook.map { "loss_codebook \($0)" } ?? ""
            print("loss_reconstruction \(report.lossReconstruction) \(latents)")
        }
    }
}
