import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct HostsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hosts",
        abstract: "Shows the hosts of a run, or of the daemon: slots, ranks, and whether they are used.",
        discussion: """
            EXAMPLES
              tf-coord hosts
              tf-coord hosts runs/quickstart --json
            """)

    @OptionGroup var chosen: ChosenRun

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let hosts: [RunStatus.HostStatus]
        if chosen.name == nil, let daemon = chosen.place.locator.daemon {
            hosts = try waitFor { try await CoordinatorClient(daemon).hosts() }
        } else {
            let client = try chosen.client
            hosts = try waitFor { try await client.status() }.layout?.hosts ?? []
        }
        if json {
            print(String(decoding: try CoordinatorJSON.encode(hosts, pretty: true), as: UTF8.self))
        } else if hosts.isEmpty {
            print("no hosts: no ranks are launched")
        } else {
            for host in hosts {
                print(
                    "\(host.name)  slots \(host.slots)  ranks \(host.ranks)  \(host.condition.rawValue)  failures \(host.failures)"
                )
            }
        }
    }
}
