import ArgumentParser
import TransfusionConfig
import TransfusionCoordinator

/// Where runs lie.
struct RunRoot: ParsableArguments {
    @Option(
        help: ArgumentHelp("The directory of the runs; that of the running daemon, or runs.", valueName: "directory"))
    var root: String?

    var locator: RunLocator { RunLocator(root: root) }

    /// The daemon that serves the runs.
    var daemon: DaemonEndpoint {
        get throws {
            guard let daemon = locator.daemon else {
                throw CommandFailure(
                    "no daemon serves the runs below \(root ?? RunLocator.root); start one with 'tf-coord serve'")
            }
            return daemon
        }
    }
}

/// The run that a command is about.
struct ChosenRun: ParsableArguments {
    @Argument(help: ArgumentHelp("A run directory, or the name of a run.", valueName: "run"))
    var name: String?

    @OptionGroup var place: RunRoot

    var client: RunClient {
        get throws { try place.locator.find(name) }
    }
}
