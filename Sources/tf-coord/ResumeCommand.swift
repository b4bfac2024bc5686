import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct ResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Goes on with a run that was stopped, failed, or lost its coordinator.",
        discussion: "In the foreground, like run, with the configuration, hosts and ranks of its last start.")

    @OptionGroup var chosen: ChosenRun

    @OptionGroup var server: ServerOptions

    func run() throws {
        let client = try chosen.client
        try Foreground.supervise(client.request(), server.settings)
    }
}
