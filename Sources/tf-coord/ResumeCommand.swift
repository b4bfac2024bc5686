import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct ResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Continues a run that was stopped, failed, or lost its coordinator.",
        discussion: """
            With the configuration, hosts and ranks of its last start. A run of the
            daemon is queued again; any other goes on in the foreground, like run.

            EXAMPLE
              tf-coord resume runs/quickstart
            """)

    @OptionGroup var chosen: ChosenRun

    @OptionGroup var server: ServerOptions

    func run() throws {
        let client = try chosen.client
        guard try !waitFor({ try await client.resumeByDaemon() }) else { return }
        try Foreground.supervise(client.request(), server.settings)
    }
}
