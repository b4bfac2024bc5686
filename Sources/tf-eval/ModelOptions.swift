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

    @OptionGroup var computing: ComputingOptions

    var request: LoadedModel.Request { computing.request(checkpoint) }
}

/// How a model computes.
struct ComputingOptions: ParsableArguments {
    @Option(help: "A SentencePiece .model file; by default the one that the model was trained with.")
    var tokenizer: String?

    @Option(help: "auto (bf16 where the processor multiplies it), f32 or bf16.")
    var precision = RunConfiguration.Precision.f32

    @Option(
        help: "int8 rounds the weights to bytes when they are loaded: less memory, faster text, slightly other numbers."
    )
    var weights: WeightRounding?

    @OptionGroup var threads: RankThreadsOption

    func request(_ checkpoint: String) -> LoadedModel.Request {
        var request = LoadedModel.Request(checkpoint: checkpoint)
        request.tokenizer = tokenizer
        request.precision = precision
        request.threads = threads.count
        request.rounding = weights
        return request
    }
}

/// How a measure draws pictures.
struct DrawingOptions: ParsableArguments {
    @Option(help: "Denoising steps, 1 to 1000.")
    var steps = ImageSettings().steps

    // A number below 0 looks like an option.
    @Option(
        name: [.customLong("cfg-scale"), .customLong("guidance")], parsing: .unconditional,
        help: "Strength of guidance by the prompt; 1 is none.")
    var cfgScale = ImageSettings().guidanceScale

    @Option(help: "Picture i uses seed + i.")
    var seed: UInt64 = 0

    @Option(
        help: "For a model of latents, the autoencoder that made them; by default the copy of its run or data set.")
    var autoencoder: String?

    /// Whether nothing was asked for.
    var isUsual: Bool {
        let usual = ImageSettings()
        return steps == usual.steps && cfgScale == usual.guidanceScale && seed == 0 && autoencoder == nil
    }

    /// Those of `tf-sample image`, which keeps what each step predicts within the range of pixels.
    var settings: ImageSettings {
        var settings = ImageSettings()
        settings.steps = steps
        settings.guidanceScale = cfgScale
        settings.clipsImage = true
        return settings
    }
}

/// Measures alone, or as one of the ranks of an MPI job. Only rank 0 gets the report.
func measureOnAllRanks<Report>(
    _ work: (any Communicator, _ ranksOnHost: Int, _ warn: (String) -> Void) throws -> Report
) throws -> Report? {
    CPUReport.reexecuteIfSlowKernels()
    do {
        return try MPIEnvironment.run { job -> Report? in
            let report = try work(job.world, job.world.ranksOnOwnHost) {
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
