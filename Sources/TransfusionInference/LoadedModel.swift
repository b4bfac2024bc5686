internal import Foundation
public import TransfusionCheckpoint
public import TransfusionConfig
internal import TransfusionCore
public import TransfusionData
internal import TransfusionModels
internal import TransfusionSupport

/// What weights are rounded to when a model is loaded.
public enum WeightRounding: String, Sendable, CaseIterable {
    /// Signed bytes with a factor for each output.
    case int8
}

/// A trained model with its tokenizer, ready to generate.
public final class LoadedModel {
    /// Which model, and how it computes.
    public struct Request: Sendable {
        /// What `ModelArchive` opens.
        public var checkpoint: String
        /// A tokenizer's file; nil looks for the one that the model was trained with.
        public var tokenizer: String?
        /// What `AutoencoderWeights` opens, for a model of latents; nil takes the copy that its run or data set has.
        public var autoencoder: String?
        public var precision = RunConfiguration.Precision.automatic
        /// Nil takes the processors that this process may use.
        public var threads: Int?
        /// Nil computes with the weights as `precision` has them.
        public var rounding: WeightRounding?

        public init(checkpoint: String) {
            self.checkpoint = checkpoint
        }
    }

    public let archive: ModelArchive
    public let tokenizer: Tokenizer
    public let generator: Generator
    let type: ElementType
    private let request: Request
    private let run: RunConfiguration?

    /// - Parameters:
    ///   - tokenizer: Takes the place of the file that `request` names or the model was trained with.
    ///   - warn: Gets a line for each damaged checkpoint that is passed over.
    public init(
        _ request: Request, tokenizer: Tokenizer? = nil, warn: (String) -> Void = { _ in }
    ) throws {
        if let threads = request.threads, !(1...1024).contains(threads) {
            throw SettingError("threads", "must lie between 1 and 1024, not \(threads)")
        }
        archive = try ModelArchive(request.checkpoint) { warn($0.description) }
        self.request = request
        run = Self.run(of: archive)
        self.tokenizer = try tokenizer ?? Self.tokenizer(request.tokenizer, for: archive, run: run)
        try Self.check(self.tokenizer, against: archive)
        type = request.precision.type()
        let context = Context(pool: ThreadPool(threads: request.threads), type: type)
        let model = TransfusionModel(archive.configuration, context)
        try archive.load(into: model.parameters)
        switch request.rounding {
        case nil: model.pack(context)
        case .int8?: model.quantize(context)
        }
        generator = Generator(
            model, context,
            contextLength: archive.contextLength ?? run?.batch.sequenceLength ?? Self.paperContextLength,
            name: archive.path)
    }

    private static let paperContextLength = 4096

    /// The model in a few words, for people.
    public var name: String { archive.name }

    /// The data sets of the run that a model comes from, as its configuration names them.
    public static func dataPaths(of archive: ModelArchive) -> [String] { run(of: archive)?.data.paths ?? [] }

    /// The configuration of the run that the model comes from, if it can be read.
    private static func run(of archive: ModelArchive) -> RunConfiguration? {
        archive.runDirectory.flatMap { try? RunConfiguration.load(RunDirectory($0).configuration) }
    }

    private static func tokenizer(
        _ path: String?, for archive: ModelArchive, run: RunConfiguration?
    ) throws -> Tokenizer {
        if let path { return try Tokenizer(path: path) }
        if let beside = archive.tokenizerPath { return try Tokenizer(path: beside) }
        // A run's data sets hold the tokenizer that they were made with.
        if let path = run?.data.paths.lazy.compactMap(Tokenizer.path(in:)).first { return try Tokenizer(path: path) }
        throw CommandFailure(
            "\(archive.path): has no tokenizer.model or tokenizer.json beside it; give a tokenizer", .wrongUse)
    }

    private static func check(_ tokenizer: Tokenizer, against archive: ModelArchive) throws {
        if let digest = archive.tokenizerDigest, digest != tokenizer.digest {
            throw CommandFailure(
                "\(archive.path): was trained with the tokenizer \(digest.prefix(12))…, not \(tokenizer.digest.prefix(12))…; "
                    + "give the right tokenizer", .wrongUse)
        }
        let configuration = archive.configuration
        guard tokenizer.vocabulary == configuration.textVocabulary, tokenizer.beginOfImage == configuration.beginOfImage
        else {
            throw CommandFailure(
                "\(archive.path): has a vocabulary of \(configuration.textVocabulary) tokens, the tokenizer has "
                    + "\(tokenizer.vocabulary); give the right tokenizer", .wrongUse)
        }
    }

    /// What makes pictures of the model's images. Refuses a model whose images are none, and latents without their autoencoder.
    func pictureCoder() throws -> PictureCoder {
        guard archive.configuration.images != .none else {
            throw CommandFailure("\(archive.path): is a model without images (model.images: none)", .wrongUse)
        }
        let configuration = archive.configuration, channels = configuration.imageChannels
        let hasLatents = channels != 3 || archive.autoencoderDigest != nil
        guard hasLatents || request.autoencoder != nil else { return PictureCoder(pixelsOf: configuration) }
        guard hasLatents else {
            throw SettingError("autoencoder", "\(archive.path) is a model of pixels; leave it out")
        }
        let copies = run?.data.paths.map { Paths.join($0, AutoencoderWeights.copyName) } ?? []
        let place = request.autoencoder ?? archive.autoencoderPath
        guard let path = place ?? copies.first(where: { FileManager.default.fileExists(atPath: $0) }) else {
            throw CommandFailure(
                "\(archive.path): its images are "
                    + (configuration.images == .tokens ? "codes" : "latents of \(channels) channels")
                    + ", and no autoencoder is beside the model or its data; give the autoencoder that made them",
                .wrongUse)
        }
        return try PictureCoder(
            AutoencoderWeights(path), shape: (channels, configuration.imageHeight, configuration.imageWidth),
            codes: configuration.images == .tokens ? configuration.imageCodes : nil, of: archive.path,
            digest: archive.autoencoderDigest,
            Context(pool: ThreadPool(threads: request.threads), type: type))
    }
}
