import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCore
import TransfusionInference

extension DataCommand {
    struct Encode: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a data set of latents or codes out of a data set of pictures.",
            discussion: """
                Captions, texts and splits stay. The latents are the means that the
                autoencoder gives, or the vectors of its codes, shifted and scaled as its
                config.json says (shift_factor, scaling_factor). With --codes the numbers of
                the codes are stored, for a model whose images are tokens.

                EXAMPLES
                  tf-data encode data/gallery --autoencoder sd-vae-ft-mse --out data/latents
                  tf-data encode data/gallery --autoencoder runs/vq --codes --out data/codes
                """)

        @Argument(help: "A data set with pictures.")
        var dataset: String

        @Option(help: "A run, its checkpoints, one checkpoint, or an autoencoder of diffusers.")
        var autoencoder: String

        @Option(help: "The directory to make; it must not exist.")
        var out: String

        @Flag(help: "Store the numbers of the codes of an autoencoder of the kind vq, for model.images: tokens.")
        var codes = false

        @Option(help: "Pictures that are encoded at once, 1 … 1024; memory grows with it.")
        var batch = 8

        @Option(help: "auto (bf16 where the processor multiplies it), f32 or bf16.")
        var precision = RunConfiguration.Precision.automatic

        @OptionGroup var threads: ThreadsOption

        @Flag(help: "Print the report as JSON.")
        var json = false

        func validate() throws {
            guard (1...1024).contains(batch) else {
                throw ValidationError("--batch must lie between 1 and 1024, not \(batch)")
            }
        }

        func run() throws {
            CPUReport.reexecuteIfSlowKernels()
            var encoding = DatasetEncoding(dataset: dataset, autoencoder: autoencoder, output: out)
            encoding.batch = batch
            encoding.threads = threads.count
            encoding.type = precision.type()
            encoding.storesCodes = codes
            let cleanup = InterruptionCleanup()
            defer { withExtendedLifetime(cleanup) {} }
            let progress = PhaseProgress()
            let report = try progress.during { try encoding.run(progress: progress.update) }
            if json { return try printJSON(report) }
            if let codes = report.codes, let used = report.codesUsed {
                return print(
                    "\(report.path): data set \(report.digest.prefix(12)), \(report.images) pictures of "
                        + "\(report.shape[1]) × \(report.shape[2]) codes; \(used) of \(codes) occur")
            }
            print(
                "\(report.path): data set \(report.digest.prefix(12)), \(report.images) latents of "
                    + report.shape.map(String.init).joined(separator: " × "))
            guard let mean = report.mean, let deviation = report.deviation else { return }
            print(String(format: "  mean %.3f, deviation %.3f", mean, deviation))
            if !(0.5...2).contains(deviation) {
                print("  a diffusion model expects a deviation near 1: change scaling_factor of the autoencoder")
            }
        }
    }
}
