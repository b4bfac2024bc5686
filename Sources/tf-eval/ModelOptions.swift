public import ArgumentParser
import TransfusionConfig
import TransfusionCore
import TransfusionInference
import TransfusionParallel

/// Which model, and how it computes.
struct ModelOptions: ParsableArguments {
    @Option(
        name: [.customLong("checkpoint"), .customShort("m")],
        help: "A run, its checkpoints, one checkpoint, or a directory of weights: safetensors, hf-llama or meta-llama.")
    var checkpoint: String

    @Option(help: "A SentencePiece .model file; by default the one that the model was trained with.")
    var tokenizer: String?

    @Option(help: "auto (bf16 where the processor multiplies it), f32 or bf16.")
    var precision = RunConfiguration.Precision.f32

    @Option(
        help: "int8 rounds the weights to bytes when they are loaded: less memory, faster text, slightly other numbers."
    )
    var weights: WeightRounding?

    @OptionGroup var threads: RankThreadsOption

    var request: LoadedModel.Request {
        var request = LoadedModel.Request(checkpoint: checkpoint)
        request.tokenizer = tokenizer
        request.precision = precision
        request.threads = threads.count
        request.rounding = weights
        return request
    }
}

/// Measures alone, or as one of the ranks of an MPI job. Only rank 0 gets the report.
func measureOnAllRanks<Report>(
    _ work: (any Communicator, _ ranksOnHost: Int, _ warn: (String) -> Void) throws -> Report
) throws -> Report? {
    CPUReport.reexecuteIfSlowKernels()
    do {
        return try MPIEnvironment.run { job -> Report? in
            let hosts = job.world.hosts
            let report = try work(job.world, hosts.count { $0 == hosts[job.world.rank] }) {
                StandardStream.error.write("warning: \($0)\n")
            }
            return job.world.rank == 0 ? report : nil
        } failed: { error, job in
            let said = CommandFailure.say(error, rank: job.world.rank, of: job.world.size)
            return .init(exitCode: said.failure.code.rawValue, isShared: said.isShared)
        }
    } catch {
        throw CommandFailure("\(error)", .wrongUse)
    }
}

extension WeightRounding: ExpressibleByArgument {}
