import ArgumentParser
import TransfusionConfig

@main
struct TFBench: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-bench",
        abstract: "Measures what this machine does with the parts of a training run.",
        discussion: """
            A 0.16b training step in bf16:   tf-bench step --model 0.16b
            Beside another program, in turn: tf-bench step --against 'python baseline.py --dtype bf16'
            Its kernels alone:               tf-bench kernels --model 0.16b
            Text and images, random weights: tf-bench sample --model 0.16b
            Collectives against MPI's own:   mpirun -n 2 --bind-to none tf-bench collectives
            Checkpoints against plain I/O:   tf-bench checkpoint --directory /data
            What 'tf-coord plan' reckons with: tf-bench rates --json > rates.json
            What this host computes with:    tf-bench host
            """,
        subcommands: [
            StepCommand.self, SampleCommand.self, KernelsCommand.self, CollectivesCommand.self, CheckpointCommand.self,
            RatesCommand.self, HostCommand.self,
        ])
}
