public import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCore
import TransfusionInference
public import TransfusionModels

/// Which model, and how it computes.
struct ModelOptions: ParsableArguments {
    @Option(
        name: [.customLong("checkpoint"), .customShort("m")],
        help: "A run, its checkpoints, one checkpoint, or a directory of weights: safetensors, hf-llama or meta-llama.")
    var checkpoint: String

    @Option(help: "A SentencePiece .model or a tokenizer.json; by default the one that the model was trained with.")
    var tokenizer: String?

    @Option(
        help: "For a model of latents, the autoencoder that made them; by default the copy of its run or data set.")
    var autoencoder: String?

    @Option(help: "auto (bf16 where the processor multiplies it), f32 or bf16.")
    var precision = RunConfiguration.Precision.automatic

    @Option(
        help: "int8 rounds the weights to bytes when they are loaded: less memory, faster text, slightly other numbers."
    )
    var weights: WeightRounding?

    @OptionGroup var threads: ThreadsOption

    // A number below 0 looks like an option.
    @Option(
        name: .shortAndLong, parsing: .unconditional,
        help: "Sample i uses seed + i; below 0, a seed is chosen at random.")
    var seed = 0

    var request: LoadedModel.Request {
        var request = LoadedModel.Request(checkpoint: checkpoint)
        request.tokenizer = tokenizer
        request.autoencoder = autoencoder
        request.precision = precision
        request.threads = threads.count
        request.rounding = weights
        return request
    }
}

/// How pictures are drawn.
struct DrawingOptions: ParsableArguments {
    enum Method: String, ExpressibleByArgument, CaseIterable {
        case ddim, ddpm
    }

    @Option(help: "Denoising steps, 1 to 1000. A model of image tokens takes one for each token.")
    var steps = ImageSettings().steps

    // A number below 0 looks like an option.
    @Option(
        name: [.customLong("cfg-scale"), .customLong("guidance")], parsing: .unconditional,
        help: "Strength of guidance by the prompt; 1 is none.")
    var cfgScale = ImageSettings().guidanceScale

    @Option(help: "ddim or ddpm (ancestral).")
    var sampler = Method.ddim

    @Option(help: "leading (the last step ends at timestep 0) or trailing (the first starts at the last timestep).")
    var spacing = Sampler.Spacing.leading

    @Option(help: "Noise that each step of ddim adds, from 0 (none) to 1 (as much as ddpm).")
    var eta: Double?

    @Flag(
        inversion: .prefixedNo,
        help: "Keep the picture that each step predicts within the range of pixels; latents have none.")
    var clip = true

    @Option(help: "For a model of image tokens: 0 takes the likeliest token; higher is more varied.")
    var imageTemperature = ImageSettings().temperature

    @Option(
        name: .customLong("image-top-p"),
        help: "For a model of image tokens: consider the likeliest that together have this probability.")
    var imageTopP = ImageSettings().topP

    func validate() throws {
        if sampler == .ddpm, eta != nil { throw ValidationError("--eta belongs to --sampler ddim; leave it out") }
    }

    var settings: ImageSettings {
        var settings = ImageSettings()
        settings.steps = steps
        settings.guidanceScale = cfgScale
        settings.method = sampler == .ddpm ? .ddpm : .ddim(eta: eta ?? 0)
        settings.spacing = spacing
        settings.clipsImage = clip
        settings.temperature = imageTemperature
        settings.topP = imageTopP
        return settings
    }
}

/// How text is written.
struct WritingOptions: ParsableArguments {
    @Option(help: "Tokens to write at most, 1 to \(TextSettings.mostTokens).")
    var maxTokens = TextSettings().maximumTokens

    @Option(help: "0 takes the likeliest token; higher is more varied.")
    var temperature = TextSettings().temperature

    @Option(help: "Consider the likeliest tokens that together have this probability.")
    var topP = TextSettings().topP

    @Option(help: "Consider this many of the likeliest tokens; 0 considers all.")
    var topK = TextSettings().topK

    @Option(help: "Consider tokens at least so probable as this share of the likeliest one's; 0 considers all.")
    var minP = TextSettings().minP

    @Option(help: "Above 1, tokens that occur in the text already become less likely; 1 changes nothing.")
    var repetitionPenalty = TextSettings().repetitionPenalty

    @Option(name: .customLong("stop"), help: "End the text before this text; may be given several times.")
    var stops: [String] = []

    var settings: TextSettings {
        var settings = TextSettings()
        settings.maximumTokens = maxTokens
        settings.temperature = temperature
        settings.topP = topP
        settings.topK = topK
        settings.minP = minP
        settings.repetitionPenalty = repetitionPenalty
        settings.stops = stops
        return settings
    }
}

extension Sampler.Spacing: ExpressibleByArgument {}
extension WeightRounding: ExpressibleByArgument {}

/// Shows a line that is no result.
func warn(_ line: String) {
    StandardStream.error.write("warning: \(line)\n")
}
