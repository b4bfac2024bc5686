import ArgumentParser
import TransfusionConfig
import TransfusionSupport

@main
struct TFCoord: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-coord",
        abstract: "Starts training runs, watches them, and brings them back after failures.",
        discussion: """
            tf-coord run configs/train/quickstart.yaml --ranks 2  # until it is done
            tf-coord status                 # what runs, how far it is, how healthy
            tf-coord logs -f                # what the ranks print
            tf-coord stop                   # save and end
            tf-coord resume runs/quickstart # go on
            tf-coord dashboard              # the same in a browser
            tf-coord plan CONFIG --hosts 8 --cores 64 --memory 256  # what fits, how fast
            tf-coord experiment FILE        # runs that are compared, with a report

            tf-coord serve                  # a daemon
            tf-coord submit CONFIG          # hands it a run, which it queues

            A RUN is a run directory, or the name of one below runs/; left out, it is the
            one that runs, or ran last.
            """,
        version: ProductVersion.number,
        subcommands: [
            RunCommand.self, ServeCommand.self, SubmitCommand.self, StatusCommand.self, DashboardCommand.self,
            LogsCommand.self, StopCommand.self, ResumeCommand.self, HostsCommand.self, ConfigCommand.self,
            PlanCommand.self, ExperimentCommand.self, TokenCommand.self,
        ])

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        // Before anything else: a signal that came earlier than its handler would be the end.
        if let verb = arguments.first, ["run", "resume", "serve", "experiment"].contains(verb) {
            StopRequests.install()
        }
        main(arguments)
    }
}
