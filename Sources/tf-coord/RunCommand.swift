import ArgumentParser
import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCoordinator
import TransfusionData

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Trains a configuration to its end, with restarts after failures.",
        discussion: """
            Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP: all ranks save at the same step, and
            tf-coord ends with exit code 85; once more, and everything ends at once, with
            1 and without saving. Under nohup it ignores SIGHUP. Exit code 0 means that
            all steps are done, 1 that restarts did not help, 2 wrong use.
            Started again with the same directory, it goes on from the newest checkpoint
            that verifies; processes that an earlier tf-coord left are found and taken
            over.

            EXAMPLES
              tf-coord run configs/train/quickstart.yaml --ranks 2
              tf-coord run my.yaml --hosts hosts.txt --run-dir /shared/runs/my
            """)

    @Argument(help: "The configuration of the run, a YAML file.")
    var config: String

    @Option(
        help: ArgumentHelp(
            "The most ranks; all are on this host unless --hosts names others. By default as many as the hosts have slots; "
                + "without hosts, parallel.data × parallel.tensor, where a parallel.data that is not given counts as 1."
        ))
    var ranks: Int?

    @Option(
        help: ArgumentHelp(
            "A file with a host a line, as in 'node01 slots=2'; by default the hosts of a Slurm or MPI-operator job.",
            valueName: "file"))
    var hosts: String?

    @Option(
        help: ArgumentHelp(
            "The program that reaches other hosts, called as ssh is; by default that of Open MPI (plm_rsh_agent), or ssh.",
            valueName: "program"))
    var remoteShell: String?

    @Option(help: "The directory of the run; runs/NAME by default.")
    var runDir: String?

    @Option(
        help:
            "auto (from the newest checkpoint that verifies), none, or the path of a run or of a checkpoint; once the run has saved a checkpoint, restarts go on from that."
    )
    var resume = "auto"

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set batch.micro_sequences=2.")
    var overrides: [String] = []

    @OptionGroup var server: ServerOptions

    func validate() throws {
        if runDir == "" {
            throw ValidationError("--run-dir: is empty; give a path (is a variable of the shell not set?)")
        }
        if resume.isEmpty {
            throw ValidationError("--resume: is empty; give a path (is a variable of the shell not set?)")
        }
        if let ranks, ranks < 1 { throw ValidationError("--ranks: \(ranks) is not a number of ranks; use 1 or more") }
    }

    func run() throws {
        let configuration = try RunConfiguration.loadWithInitialWeights(config, overrides: overrides)
        try configuration.requireDataset()
        let ranks = ranks
        // Ranks asked for by number alone run here.
        let list =
            try hosts.map { try HostList.read($0) }
            ?? waitFor { ranks == nil ? try await HostList.ofAllocation() : nil }
        let request = try RunRequest(
            configuration, hosts: list, remoteShell: remoteShell, ranks: ranks, directory: runDir, resume: resume)
        try Foreground.supervise(request, server.settings)
    }
}
