import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCore
import TransfusionInference

extension DataCommand {
    struct Encode: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a data set of latents out of a data set of pictures.",
            discussion: """
                Captions, texts and splits stay. The latents are the means that the
                autoencoder gives, or the vectors of its codes, shifted and scaled as its
                config.json says (shift_factor, scaling_factor).

                EXAMPLE
                  tf-data encode data/gallery --autoencoder sd-vae-ft-mse --out data/latents
                """)

        @Argument(help: "A data set with pictures.")
        var dataset: String

        @Option(help: "A run, its checkpoints, one checkpoint, or an autoencoder of diffusers.")
        var autoencoder: String

        @Option(help: "The directory to make; it must not exist.")
        var out: String

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
            let cleanup = InterruptionCleanup()
            defer { withExtendedLifetime(cleanup) {} }
            let progress = PhaseProgress()
            let report = try progress.during { try encoding.run(progress: progress.update) }
            if json { return try printJSON(report) }
            print(
                "\(report.path): data set \(report.digest.prefix(12)), \(report.images) latents of "
                    + report.shape.map(String.init).joined(separator: " × "))
            print(String(format: "  mean %.3f, deviation %.3f", report.mean, report.deviation))
            if !(0.5...2).contains(report.deviation) {
                print("  a diffusion model expects a deviation near 1: change scaling_factor of the autoencoder")
            }
        }
    }
}
