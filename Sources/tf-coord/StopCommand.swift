import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct StopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop", abstract: "Asks a run to save at the end of its step and to end.",
        discussion: """
            EXAMPLES
              tf-coord stop quickstart --wait
              tf-coord stop runs/quickstart --now
            """)

    @OptionGroup var chosen: ChosenRun

    @Flag(help: "End at once, without saving.")
    var now = false

    @Flag(help: "Wait until the run has ended.")
    var wait = false

    func run() throws {
        let client = try chosen.client
        let now = now
        try waitFor { try await client.stop(now: now) }
        while wait, client.isSupervised { usleep(200_000) }
    }
}
