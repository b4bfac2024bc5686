import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct HostsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hosts",
        abstract:
            "Shows the hosts of a run, or of the daemon; or checks hosts before a run.",
        discussion: """
            With --check, every host of a file is reached as a run would reach it, and
            must have the same build and Open MPI, and see the shared directory, with
            working renames, flushes and locks. Clocks, /dev/shm and the rate of matrix
            products are compared, and slow hosts named. The exit code is 1 when a run
            could not work.

            EXAMPLES
              tf-coord hosts
              tf-coord hosts runs/quickstart --json
              tf-coord hosts --check hosts.txt --shared /shared/runs
            """)

    @OptionGroup var chosen: ChosenRun

    @Flag(help: "Print JSON.")
    var json = false

    @Option(
        help: ArgumentHelp("Check the hosts of this file, a host a line as in 'node01 slots=2'.", valueName: "file"))
    var check: String?

    @Option(help: ArgumentHelp("With --check: the directory that all hosts must share.", valueName: "directory"))
    var shared = "."

    @Option(
        help: ArgumentHelp(
            "With --check: the program that reaches other hosts, as for 'tf-coord run'.", valueName: "program"))
    var remoteShell: String?

    func validate() throws {
        if check == nil, shared != "." || remoteShell != nil {
            throw ValidationError("--shared and --remote-shell belong to --check; add --check FILE")
        }
        if check != nil, chosen.name != nil || chosen.place.root != nil {
            throw ValidationError("--check: hosts of a file are checked, not those of a run; leave out RUN and --root")
        }
    }

    func run() throws {
        if let check { return try checkHosts(of: check) }
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

    private func checkHosts(of file: String) throws {
        let hosts = try HostList.read(file), shared = shared, remoteShell = remoteShell
        let result = try waitFor { try await HostCheck.run(hosts, shared: shared, remoteShell: remoteShell) }
        print(json ? String(decoding: try CoordinatorJSON.encode(result, pretty: true), as: UTF8.self) : result.table)
        if !result.problems.isEmpty { throw ExitCode.failure }
        if !json { print("The hosts can train together.") }
    }
}
