import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct LogsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Prints what the ranks of a run print.",
        discussion: """
            EXAMPLES
              tf-coord logs -f
              tf-coord logs runs/quickstart --launch 1
            """)

    @OptionGroup var chosen: ChosenRun

    @Flag(name: [.customShort("f"), .long], help: "Go on with what is printed from now on, also by later launches.")
    var follow = false

    @Option(help: "The launch, counted from 1; the newest by default.")
    var launch: Int?

    func run() throws {
        let client = try chosen.client
        guard var part = client.log(launch: launch, from: launch == nil ? nil : 0) else {
            throw CommandFailure("\(client.directory.path): there is no such log")
        }
        while true {
            print(shown(part.text), terminator: "")
            fflush(nil)
            let hasMore = !part.text.isEmpty
            if !hasMore {
                if part.newestLaunch > part.launch, follow || launch == nil {
                    part = client.log(launch: part.launch + 1, from: 0) ?? part
                    continue
                }
                guard follow else { return }
                if !client.isSupervised { return }
                usleep(300_000)
            }
            part = client.log(launch: part.launch, from: part.next) ?? part
        }
    }

    /// Nothing that a rank prints may steer a terminal; a file gets every byte.
    private func shown(_ text: String) -> String {
        guard isatty(STDOUT_FILENO) == 1 else { return text }
        return text.split(separator: "\n", omittingEmptySubsequences: false).map { StatusText.printable(String($0)) }
            .joined(separator: "\n")
    }
}
