import ArgumentParser
import TransfusionConfig

@main
struct TFEval: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-eval", abstract: "Measures a model.", subcommands: [ForwardCommand.self])
}
