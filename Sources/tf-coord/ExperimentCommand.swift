import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator

struct ExperimentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "experiment",
        abstract: "Trains runs that differ in a few settings, measures them, and writes a report.",
        discussion: """
            The file names a configuration, what each run has otherwise, the seeds, what
            is measured, and numbers of the paper to stand beside; see
            docs/experiments.md. The runs are trained and measured one after the other.
            The report lies in DIR/report.html and DIR/report.md.

            Ctrl-C or SIGTERM: the run saves, and tf-coord ends with exit code 85; the
            same command goes on from there. What is finished is not done again, even
            when its run directory is removed. Exit code 1: some runs or measures
            failed, and the same command tries them again.

            EXAMPLES
              tf-coord experiment configs/experiments/table5.yaml --ranks 2
              tf-coord experiment configs/experiments/table5.yaml --check
              tf-coord experiment configs/experiments/table5.yaml \\
                --out experiments/short --set schedule.steps=50
            """)

    @Argument(help: "The file of the experiment.")
    var file: String

    @Option(name: .shortAndLong, help: "The directory for runs, results and report; experiments/NAME by default.")
    var out: String?

    @Option(help: "The most ranks of each run; see tf-coord run.")
    var ranks: Int?

    @Option(help: ArgumentHelp("A file with a host a line, as for tf-coord run.", valueName: "file"))
    var hosts: String?

    @Option(name: .customLong("set"), help: "Override a key of the configuration of all runs.")
    var overrides: [String] = []

    @Flag(help: "Check all runs, say which there are, and train none.")
    var check = false

    func validate() throws {
        if out == "" { throw ValidationError("--out: is empty; give a path (is a variable of the shell not set?)") }
        if let ranks, ranks < 1 { throw ValidationError("--ranks: \(ranks) is not a number of ranks; use 1 or more") }
    }

    func run() throws {
        let plan = try ExperimentPlan(file, overrides: overrides) { try $0.requireDataset() }
        if check {
            for trial in plan.trials { print("\(trial.name): \(trial.configuration.schedule.steps) steps") }
            return
        }
        let hosts = try hosts.map { try HostList.read($0) }
        let directory = out ?? "experiments/\(plan.experiment.name)"
        let store = try ExperimentStore(directory)
        // Before the first run: a number of ranks that does not suit one of them must not show after days.
        for trial in plan.trials { _ = try request(trial, store.run(trial).path, hosts) }
        let console = Console()
        let ranks = ranks
        let work = ExperimentRunner.Work(
            train: { trial, run in
                let request = try RunRequest(trial.configuration, hosts: hosts, ranks: ranks, directory: run.path)
                return try await ForegroundRun(request).run(
                    log: console.say, onListening: { _ in }, progress: console.show,
                    stopRequests: { StopRequests.count })
            },
            call: { try await MeasureCommand.run($0) { StopRequests.count > 0 } },
            isStopped: { StopRequests.count > 0 }, log: console.say)
        let runner = try ExperimentRunner(plan, in: store, work)
        let outcome = try waitFor { try await runner.run() }
        console.clear()
        // At once, as after a run.
        fflush(nil)
        _exit(Self.end(outcome, file, directory))
    }

    private func request(_ trial: ExperimentPlan.Trial, _ directory: String, _ hosts: [ComputeHost]?) throws
        -> RunRequest
    {
        do {
            return try RunRequest(trial.configuration, hosts: hosts, ranks: ranks, directory: directory)
        } catch {
            throw CommandFailure(
                CommandFailure(reporting: error).lines.map { "\(file): \(trial.name): \($0)" }, .wrongUse)
        }
    }

    /// Says how it ended.
    /// - Returns: The exit code.
    private static func end(_ outcome: ExperimentRunner.Outcome, _ file: String, _ directory: String) -> Int32 {
        switch outcome {
        case .finished:
            StandardStream.output.write("done: \(directory)/report.html\n")
            return 0
        case .stopped:
            StandardStream.error.write("stopped: the same command goes on; so far: \(directory)/report.html\n")
            return CommandFailure.Code.checkpointedAndStopped.rawValue
        case .failed(let lines):
            for line in lines { StandardStream.error.write("error: \(line)\n") }
            StandardStream.error.write("the same command tries these again; so far: \(directory)/report.html\n")
            return CommandFailure.Code.failure.rawValue
        }
    }
}
