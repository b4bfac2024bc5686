import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionTraining

struct LossCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "loss",
        abstract: "Says the losses of a model on data that it was not trained on.",
        discussion: """
            tf-eval loss runs/quickstart
            tf-eval loss runs/quickstart/checkpoints/step-00002250 --split train --json
            mpirun -n 2 tf-eval loss model --config run.yaml --sequences 256

            The losses are those that 'evaluation: {every_steps, sequences}' records in
            training: the next token of texts and captions, and the noise in images, at
            fixed timesteps and with fixed noise. The numbers are the same for any number
            of ranks.
            """)

    @Argument(
        help: "A run, its checkpoints, one checkpoint, or a directory of weights: safetensors, hf-llama or meta-llama.")
    var checkpoint: String

    @Option(help: "Which part of the data.")
    var split = "validation"

    @Option(help: "How many sequences are measured; by default evaluation.sequences of the configuration.")
    var sequences: Int?

    @Option(help: "The configuration that names data and batches; by default that of the checkpoint's run.")
    var config: String?

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set data.path=other.")
    var overrides: [String] = []

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        var measurement = LossMeasurement(checkpoint: checkpoint)
        measurement.split = split
        measurement.sequences = sequences
        measurement.configuration = config
        measurement.overrides = overrides
        guard let report = try measureOnAllRanks({ try measurement.run($0, ranksOnHost: $1, warn: $2) }) else { return }
        if json { return try printJSON(report) }
        print(
            "\(report.model)\(report.step.map { ", step \($0)" } ?? ""): \(report.sequences) sequences of the split "
                + "'\(report.split)', computed in \(report.precision)")
        let parts = report.losses.sorted { $0.key < $1.key }.map { name, value in
            ["loss_\(name)", String(format: "%.6f", value), "\(report.counts[name] ?? 0)"]
        }
        printTable([["", "mean", "of"]] + parts + [["loss", String(format: "%.6f", report.loss), ""]])
    }
}
