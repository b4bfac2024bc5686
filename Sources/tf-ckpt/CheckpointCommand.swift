import ArgumentParser
import TransfusionConfig
import TransfusionSupport

@main
struct CheckpointCommand: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-ckpt",
        abstract: "Looks at, checks, reshapes and converts the checkpoints of a run.",
        discussion: """
            A checkpoint is given as a run directory, its checkpoints directory (both
            mean the newest), or one step directory.

            EXAMPLES
              tf-ckpt list runs/quickstart
              tf-ckpt verify runs/quickstart
              tf-ckpt inspect runs/quickstart/checkpoints/step-00002250 --tensors
              tf-ckpt diff runs/a runs/b
              tf-ckpt convert runs/quickstart model --to safetensors
              tf-ckpt convert llama-dir start
              tf-ckpt prune runs/quickstart --keep-last 2 --keep-every 1000
            """,
        version: ProductVersion.number,
        subcommands: [
            List.self, Inspect.self, Verify.self, Diff.self, Reshard.self, Convert.self, Prune.self,
            ExportWeights.self,
        ])
}
