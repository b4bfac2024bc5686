import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract:
            "Shows a run: how far it is, its losses, checkpoints, restarts, and every rank; or all runs of the daemon.",
        discussion: """
            Asks the coordinator of the run; when none answers, it reads the run
            directory, and says so. Without a run, all runs of the daemon are listed, if
            one is running.

            EXAMPLES
              tf-coord status quickstart --watch
              tf-coord status runs/quickstart --json
            """)

    @OptionGroup var chosen: ChosenRun

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "Renew the picture every two seconds.")
    var watch = false

    func run() throws {
        repeat {
            let text = try picture()
            if watch && !json { print("\u{1B}[H\u{1B}[2J", terminator: "") }
            print(text)
            fflush(nil)
            if watch { sleep(2) }
        } while watch
    }

    private func picture() throws -> String {
        if chosen.name == nil, let daemon = chosen.place.locator.daemon {
            let runs = try waitFor { try await CoordinatorClient(daemon).runs() }
            return json ? try text(runs) : StatusText.table(of: runs)
        }
        let client = try chosen.client
        let status = try waitFor { try await client.status() }
        return json ? try text(status) : StatusText(status).table
    }

    private func text(_ value: some Encodable) throws -> String {
        String(decoding: try CoordinatorJSON.encode(value, pretty: true), as: UTF8.self)
    }
}
