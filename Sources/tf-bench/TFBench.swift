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
            Collectives against MPI's own:   mpirun -n 2 --bind-to none tf-bench collectives
            """,
        subcommands: [StepCommand.self, CollectivesCommand.self])
}
