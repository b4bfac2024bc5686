import ArgumentParser
import TransfusionBenchmarks
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionSupport

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Times the training steps of a run as its configuration describes it, on its data.",
        discussion: """
            Transfusion models and autoencoders alike, with all that their configuration
            asks for, but no checkpoints, samples or evaluations. Nothing is written.
            The program after --against is run before each measured step and prints a
            JSON object with the key images_per_s or tokens_per_s (and peak_rss_mib, if
            it likes) as its last line.

            EXAMPLES
              tf-bench run configs/train/quickstart.yaml
              tf-bench run configs/train/autoencoder.yaml --set autoencoder.preset=paper
              tf-bench run run.yaml --against 'python train_autoencoder.py'
              mpirun -n 2 --bind-to none tf-bench run run.yaml
            """)

    @Argument(help: "The configuration of the run.")
    var config: String

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set batch.micro_sequences=2.")
    var overrides: [String] = []

    @OptionGroup var measurement: StepMeasurement

    func run() throws {
        let configuration = try RunConfiguration.loadWithInitialWeights(config, overrides: overrides)
        try measurement.run {
            try StepBenchmark(configuration, name: Paths.name(of: config), group: $0)
        }
    }
}
