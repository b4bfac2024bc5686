public import ArgumentParser
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
public import TransfusionModels

/// What `convert` comes from and goes to.
enum ConversionFormat: Equatable, ExpressibleByArgument {
    case model(WeightFormat)
    /// An autoencoder as diffusers saves it.
    case autoencoder
    /// The text part as llama.cpp reads it; only to.
    case gguf

    private static let autoencoderName = "diffusers-vae"
    private static let ggufName = "gguf"

    init?(argument: String) {
        if argument == Self.autoencoderName {
            self = .autoencoder
        } else if argument == Self.ggufName {
            self = .gguf
        } else if let format = WeightFormat(rawValue: argument) {
            self = .model(format)
        } else {
            return nil
        }
    }

    var name: String {
        switch self {
        case .model(let format): format.rawValue
        case .autoencoder: Self.autoencoderName
        case .gguf: Self.ggufName
        }
    }

    var defaultValueDescription: String { name }
    static var allValueStrings: [String] { WeightFormat.allCases.map(\.rawValue) + [autoencoderName, ggufName] }
}

extension ModelConfiguration.PatchCoder: ExpressibleByArgument {}

/// The floating-point types that weights are exported in.
enum WeightType: String, ExpressibleByArgument, CaseIterable {
    case f32, bf16, f16
    /// For GGUF files.
    case q8_0

    /// nil for a type that is none of single elements.
    var element: ElementType? {
        switch self {
        case .f32: .f32
        case .bf16: .bf16
        case .f16: .f16
        case .q8_0: nil
        }
    }

    var gguf: GGUFType {
        switch self {
        case .f32: .f32
        case .bf16: .bf16
        case .f16: .f16
        case .q8_0: .q8_0
        }
    }
}

struct Convert: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Converts a model from and to the formats of other tools.",
        discussion: """
            Weights are streamed tensor by tensor; a tokenizer beside them travels along.
            A Llama lacks the weights for images: they go to and come from
            transfusion.safetensors beside it. Without that file they start anew, as
            --patch-size and the other image options say. A run that has the result, or
            the Llama itself, as its model.initial_weights starts from these weights.
            A GGUF file for llama.cpp holds the text part and the tokenizer.

            EXAMPLES
              tf-ckpt convert runs/quickstart model --to safetensors
              tf-ckpt convert runs/quickstart llama --to hf-llama --type bf16
              tf-ckpt convert runs/quickstart quickstart.gguf --to gguf --type q8_0
              tf-ckpt convert llama-dir runs/start --patch-size 2
              tf-ckpt convert sd-vae-ft-mse runs/vae --from diffusers-vae
              tf-ckpt convert runs/autoencoder vae --to diffusers-vae
            """)

    @Argument(
        help: "What to convert: a run, a checkpoint, a directory of weights, or a .safetensors file.")
    var source: String

    @Argument(
        help: "The result, which must not exist yet. A name with .safetensors gives one file, without config.json.")
    var destination: String

    @Option(help: "The format of the source; by default the one that it has.")
    var from: ConversionFormat?

    @Option(help: "The format of the result.")
    var to = ConversionFormat.model(.checkpoint)

    @Option(help: "The type of the result's elements; checkpoints are always f32, and q8_0 is for gguf.")
    var type = WeightType.f32

    @Option(help: "The most megabytes of one safetensors file.")
    var shardMegabytes = 5000

    @Option(help: "For a plain Llama: pixels or latent cells along the side of a patch.")
    var patchSize = ImageOptions().patchSize

    @Option(help: "For a plain Llama: channels of an image or latent.")
    var imageChannels = ImageOptions().channels

    @Option(help: "For a plain Llama: height of an image or latent.")
    var imageHeight = ImageOptions().height

    @Option(help: "For a plain Llama: width of an image or latent.")
    var imageWidth = ImageOptions().width

    @Flag(help: "For a plain Llama: the diffusion time joins a patch after its projection to the model's width.")
    var timestepAfterProjection = false

    @Option(help: "For a plain Llama: what turns patches into rows and back, linear or unet.")
    var patchCoder = ModelConfiguration.PatchCoder.linear

    @Option(help: "For a plain Llama with a U-Net: channels of its first level; by default they go by the width.")
    var unetChannels: Int?

    @Option(help: "For a plain Llama: the seed of the new weights.")
    var seed: UInt64 = 0

    func validate() throws {
        try Self.requireDifferent(from, to)
        if from == .autoencoder && to != .model(.checkpoint)
            || to == .autoencoder && from ?? .model(.checkpoint) != .model(.checkpoint)
        {
            throw ValidationError("\(ConversionFormat.autoencoder.name) is converted from and to checkpoint only")
        }
        if from == .gguf { throw ValidationError("--from gguf is not possible; GGUF files are written only") }
        if type == .q8_0, to != .gguf { throw ValidationError("--type q8_0 is for --to gguf; give f32, bf16 or f16") }
        guard (1...1_000_000).contains(shardMegabytes) else {
            throw ValidationError("--shard-megabytes must lie between 1 and 1000000")
        }
        if unetChannels != nil, patchCoder != .unet {
            throw ValidationError("--unet-channels goes with --patch-coder unet")
        }
        let sizes = [patchSize, imageChannels, imageHeight, imageWidth]
        guard sizes.allSatisfy({ $0 > 0 && $0 <= 1 << 16 }), imageHeight % patchSize == 0, imageWidth % patchSize == 0
        else { throw ValidationError("--patch-size must divide --image-height and --image-width") }
    }

    private static func requireDifferent(_ from: ConversionFormat?, _ to: ConversionFormat) throws {
        guard let from, from == to else { return }
        throw CommandFailure("--from and --to are both \(from.name); give the other format", .wrongUse)
    }

    func run() throws {
        guard from != .autoencoder, to != .autoencoder else { return try convertAutoencoder() }
        let found = try from ?? .model(WeightFormat(detectedAt: source))
        try Self.requireDifferent(found, to)
        guard case .model(let from) = found else { preconditionFailure("\(found.name) is no form of a model") }
        var images = ImageOptions(
            patchSize: patchSize, channels: imageChannels, height: imageHeight, width: imageWidth,
            timestepAfterProjection: timestepAfterProjection, seed: seed)
        images.patchCoder = patchCoder
        images.unetChannels = unetChannels
        let weights = try from.open(source, images: images)
        let warnings: [String]
        if case .model(let to) = to {
            warnings = try to.write(
                weights, to: destination, type: to == .checkpoint ? .f32 : type.element ?? .f32,
                shardBytes: shardMegabytes * 1_000_000)
        } else {
            warnings = try weights.writeGGUF(to: destination, type: type.gguf)
        }
        // What the model has beside its text part is not in the file.
        guard to != .gguf else { return warn(warnings, of: destination) }
        let parameters = weights.tensors.values.reduce(0) { $0 + $1.shape.reduce(1, *) }
        print("\(destination): \(weights.tensors.count) tensors, \(parameters) parameters")
        if !weights.drawn.isEmpty { print("drawn anew: \(weights.drawn.joined(separator: ", "))") }
        if !weights.passedOver.isEmpty { print("not read: \(weights.passedOver.joined(separator: ", "))") }
        warn(warnings, of: destination)
    }

    private func convertAutoencoder() throws {
        let weights = try AutoencoderWeights(source)
        let warnings =
            to == .autoencoder
            ? try weights.writeDiffusers(to: destination, type: type.element ?? .f32)
            : try weights.writeCheckpoint(to: destination)
        let parameters = weights.tensors.values.reduce(0) { $0 + $1.shape.reduce(1, *) }
        print("\(destination): \(weights.tensors.count) tensors, \(parameters) parameters")
        if to == .autoencoder, weights.configuration.codeNorm == .l2 {
            print("codes: written with a length of 1, as they are used; VQModel finds the same ones with them")
        }
        if !weights.passedOver.isEmpty { print("not read: \(weights.passedOver.joined(separator: ", "))") }
        warn(warnings, of: destination)
    }
}

struct ExportWeights: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes a checkpoint's weights without the state of the optimizer, for sharing.",
        discussion: """
            The result is a run directory with one checkpoint, a third as large, and the
            tokenizer.

            EXAMPLE
              tf-ckpt export-weights runs/quickstart share/quickstart
            """)

    @Argument(help: "A run, its checkpoints directory, or one checkpoint.")
    var source: String

    @Argument(help: "The result, which must not exist yet.")
    var destination: String

    func run() throws {
        let weights = try WeightFormat.checkpoint.open(source)
        let warnings = try WeightFormat.checkpoint.write(weights, to: destination)
        print("\(destination): step \(weights.step), \(weights.tensors.count) tensors")
        warn(warnings, of: destination)
    }
}

private func warn(_ lines: [String], of destination: String) {
    for line in lines { StandardStream.error.write("warning: \(destination): \(line)\n") }
}
