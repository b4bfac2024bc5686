import ArgumentParser
import TransfusionConfig
import TransfusionSupport

@main
struct TFEval: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-eval", abstract: "Measures a model.", version: ProductVersion.number,
        subcommands: [
            ForwardCommand.self, AutoencodeCommand.self, ScalingCommand.self, CiderCommand.self, FrechetCommand.self,
            ClipScoreCommand.self, EditCommand.self, CompositionCommand.self, LossCommand.self, PerplexityCommand.self,
            RankedCommand.self, SuiteCommand.self,
        ])
}
