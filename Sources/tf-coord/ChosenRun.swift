import ArgumentParser
import TransfusionConfig
import TransfusionCoordinator

/// The run that a command is about.
struct ChosenRun: ParsableArguments {
    @Argument(help: ArgumentHelp("A run directory, or the name of one below runs/.", valueName: "run"))
    var name: String?

    var client: RunClient {
        get throws { RunClient(try RunLocator.find(name)) }
    }
}
