import ArgumentParser
import TransfusionConfig
import TransfusionSupport

@main
struct TFBench: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-bench",
        abstract: "Measures what this machine does with the parts of a training run.",
        discussion: """
            EXAMPLES
              tf-bench step --model 0.16b
              tf-bench step --against 'python baseline.py --dtype bf16'
              tf-bench run configs/train/quickstart.yaml
              tf-bench sample --model 0.16b
              tf-bench kernels --model 0.16b
              mpirun -n 2 --bind-to none tf-bench collectives
              tf-bench checkpoint --directory /data
              tf-bench rates --json > rates.json
              tf-bench import pictures --size 256
              tf-bench host
            """,
        version: ProductVersion.number,
        subcommands: [
            StepCommand.self, RunCommand.self, SampleCommand.self, KernelsCommand.self, CollectivesCommand.self,
            CheckpointCommand.self, RatesCommand.self, ImportCommand.self, HostCommand.self,
        ])
}
