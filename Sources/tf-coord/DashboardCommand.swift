import ArgumentParser
import TransfusionConfig
import TransfusionCoordinator

struct DashboardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dashboard", abstract: "Prints a link that shows the runs in a browser.",
        discussion: """
            Whoever has the link may look at everything for 30 days, and change nothing;
            'tf-coord token dashboard --revoke' ends that.

            EXAMPLE
              tf-coord dashboard runs/quickstart
            """)

    @OptionGroup var chosen: ChosenRun

    func run() throws {
        let locator = chosen.place.locator
        if chosen.name == nil, let daemon = locator.daemon {
            print(try waitFor { try await CoordinatorClient(daemon).dashboard() })
        } else {
            let client = try chosen.client
            print(try waitFor { try await client.dashboard() })
        }
    }
}
