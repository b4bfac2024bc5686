import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Trains a configuration to its end, with restarts after failures.",
        discussion: """
            Ctrl-C, SIGTERM or SIGUSR1: all ranks save at the same step, and tf-coord ends with exit code 85; once more, and
            everything ends at once. Exit code 0 means that all steps are done, 1 that restarts did not help, 2 wrong use.
            Started again with the same directory, it goes on from the newest checkpoint that verifies; processes that an
            earlier tf-coord left are found and taken over.
            """)

    @Argument(help: "The configuration of the run, a YAML file.")
    var config: String

    @Option(help: "Ranks, all on this host; those of the allocation in a Slurm or MPI-operator job of one host.")
    var ranks: Int?

    @Option(help: "The directory of the run; runs/NAME by default.")
    var runDir: String?

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set batch.micro_sequences=2.")
    var overrides: [String] = []

    @OptionGroup var server: ServerOptions

    func validate() throws {
        if let ranks, ranks < 1 { throw ValidationError("--ranks: \(ranks) is not a number of ranks; use 1 or more") }
    }

    func run() throws {
        let configuration = try RunConfiguration.load(config, overrides: overrides)
        let ranks = ranks
        // Ranks asked for by number alone run here.
        let list = try waitFor { ranks == nil ? try await HostList.ofAllocation() : nil }
        try Self.refuseSeveral(list ?? [])
        let request = try RunRequest(configuration, hosts: list, ranks: ranks, directory: runDir)
        try Foreground.supervise(request, server.settings)
    }

    static func refuseSeveral(_ hosts: [ComputeHost]) throws(CommandFailure) {
        guard hosts.count > 1 else { return }
        throw CommandFailure(
            "\(hosts.count) hosts: tf-coord supervises the ranks of one host; start those of several with mpirun or srun, "
                + "as docs/running.md says", .wrongUse)
    }
}
