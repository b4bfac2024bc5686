import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows a run: how far it is, its losses, checkpoints, restarts, and every rank.",
        discussion: "Asks the coordinator of the run; when none answers, it reads the run directory, and says so.")

    @OptionGroup var chosen: ChosenRun

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "Renew the picture every two seconds.")
    var watch = false

    func run() throws {
        let client = try chosen.client
        repeat {
            let status = try waitFor { try await client.status() }
            let text =
                json
                ? String(decoding: try CoordinatorJSON.encode(status, pretty: true), as: UTF8.self)
                : StatusText(status).table
            if watch && !json { print("\u{1B}[H\u{1B}[2J", terminator: "") }
            print(text)
            fflush(nil)
            if watch { sleep(2) }
        } while watch
    }
}
