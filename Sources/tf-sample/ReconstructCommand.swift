import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCore
import TransfusionInference
import TransfusionSupport

struct ReconstructCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reconstruct", abstract: "Sends pictures through an autoencoder and back.",
        discussion: """
            tf-sample reconstruct --autoencoder runs/vae --out back photo.png
            tf-sample reconstruct --autoencoder data/latents --size 256 --out back *.jpg

            The directory gets each picture beside what came back of it. The peak
            signal-to-noise ratio in decibels says how close they are.
            """)

    @Option(
        name: [.customLong("autoencoder"), .customShort("a")],
        help:
            "A run, its checkpoints, one checkpoint, an autoencoder of diffusers, or what has a copy of one: a data set of latents or a run on it."
    )
    var autoencoder: String

    @Argument(help: "PNG, JPEG, WebP or GIF files.")
    var pictures: [String]

    @Option(name: [.customLong("out"), .customShort("o")], help: "A new directory.")
    var out: String

    @Option(help: "Brings the middle of each picture to this height and width.")
    var size: Int?

    @Option(help: "auto (bf16 where the processor multiplies it), f32 or bf16.")
    var precision = RunConfiguration.Precision.automatic

    @OptionGroup var threads: ThreadsOption

    @Flag(help: "Print the results as JSON, one object a line.")
    var json = false

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var request = ReconstructRequest(autoencoder: autoencoder, pictures: pictures, output: out)
        request.size = size
        request.precision = precision
        request.threads = threads.count
        for result in try request.run() {
            let quality = result.psnr.map { String(format: "%.2f dB", $0) } ?? "no difference"
            print(
                try json
                    ? JSONText.line(result)
                    : "\(result.output): \(result.file), latent \(result.latent.map(String.init).joined(separator: " × ")), \(quality)"
            )
        }
    }
}
