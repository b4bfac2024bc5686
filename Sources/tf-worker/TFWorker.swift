import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCore
import TransfusionParallel
import TransfusionSupport
import TransfusionTelemetry
import TransfusionTraining

@main
struct TFWorker: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-worker",
        abstract: "Trains a model: alone, or as one of the ranks of an MPI job.",
        discussion: """
            Alone:
              tf-worker --config my.yaml --run-dir runs/my
            Two ranks:
              mpirun -n 2 --bind-to none tf-worker --config my.yaml --run-dir runs/my
            Under Slurm:
              srun --mpi=pmix tf-worker --config my.yaml --run-dir runs/my

            The run directory gets run.yaml, metrics.jsonl, TensorBoard events, samples
            and checkpoints. Started again with the same directory, a run goes on from
            its newest checkpoint that verifies. SIGTERM, SIGUSR1, SIGINT or SIGHUP to any
            rank makes all ranks save at the same step and exit with code 85; a second
            signal ends at once. mpirun leaves the ranks a second to save when it gets
            SIGTERM or SIGINT; send it SIGUSR1, which it passes on.
            """,
        version: ProductVersion.number)

    @Option(help: "The configuration of the run, a YAML file.")
    var config: String

    @Option(help: "The directory of the run; made if it does not exist.")
    var runDir: String

    @Option(help: "auto (from the newest checkpoint that verifies), none, or the path of a run or of a checkpoint.")
    var resume = "auto"

    @Option(help: "Stop with a checkpoint after this step; the schedule stays that of the configuration.")
    var steps: Int?

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set batch.micro_sequences=2.")
    var overrides: [String] = []

    @Option(help: "Refuse to start unless the job has this many ranks.")
    var expectRanks: Int?

    func validate() throws {
        for (option, path) in [("--config", config), ("--run-dir", runDir), ("--resume", resume)] where path.isEmpty {
            throw ValidationError("\(option): is empty; give a path (is a variable of the shell not set?)")
        }
        if let steps, steps < 1 { throw ValidationError("--steps: \(steps) is not a number of steps; use 1 or more") }
    }

    static func main() {
        // Signals that come while the program starts, once more for other kernels, are taken when it listens.
        StopSignals.hold()
        main(Array(CommandLine.arguments.dropFirst()))
    }

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        ProcessHeap.shareBetweenThreads()
        StopSignal.install(isSupervised: HeartbeatEndpoint.fileOfThisProcess != nil)
        let outcome: TrainingOutcome
        do {
            outcome = try MPIEnvironment.run(expectedRanks: expectRanks, train) { error, job in
                let said = CommandFailure.say(error, rank: job.world.rank, of: job.world.size)
                return .init(exitCode: said.failure.code.rawValue, isShared: said.isShared)
            }
        } catch {
            throw CommandFailure("\(error)", .wrongUse)
        }
        if outcome == .stoppedOnRequest {
            throw ExitCode(CommandFailure.Code.checkpointedAndStopped.rawValue)
        }
    }

    private func train(_ job: MPIEnvironment) throws -> TrainingOutcome {
        var options = TrainingOptions()
        options.lastStep = steps
        options.resume =
            switch resume {
            case "auto": .automatic
            case "none": .never
            default: .from(resume)
            }
        return try TrainingJob.train(
            configurationFile: config, overrides: overrides, directory: RunDirectory(runDir), group: job.world,
            hostName: job.hostName, transport: job.transport, watch: job.watch, options: options
        ) { line in
            StandardStream.output.write(line + "\n")
        }
    }
}
