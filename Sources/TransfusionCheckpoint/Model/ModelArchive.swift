public import TransfusionCore
public import TransfusionModels
internal import TransfusionSupport

/// A model on disk, in any form: a run, its checkpoints, one checkpoint, or files of weights as `WeightFormat` knows them.
///
/// Opening reads the description and refuses a model whose tensors are not exactly those that it calls for; `load` reads
/// the weights.
public struct ModelArchive: Sendable {
    /// The step directory or the directory of the files.
    public let path: String
    /// The training step, when the model comes from a run.
    public let step: Int?
    /// The digest of the tokenizer's file, when the model says which it wants.
    public let tokenizerDigest: String?
    /// The digest of the autoencoder whose latents the model was trained on, when it says so.
    public let autoencoderDigest: String?
    private let weights: ModelWeights

    public var configuration: ModelConfiguration { weights.configuration }
    /// Rows of the longest sequence that the model was trained on, when it says so.
    public var contextLength: Int? { weights.contextLength }

    /// - Parameters:
    ///   - path: A run directory or a directory of checkpoints (the newest one that verifies is taken), one step directory, or a
    ///     directory or file of any other `WeightFormat`. A plain Llama is a model without images.
    ///   - report: Called for each damaged checkpoint that is passed over.
    /// - Throws: `CheckpointError` or `FileSystemError`, which name the file and what is wrong with it.
    public init(_ path: String, report: (SkippedCheckpoint) -> Void = { _ in }) throws {
        let format: WeightFormat
        do {
            format = try WeightFormat(detectedAt: path)
        } catch let error as FileSystemError {
            throw CheckpointError(
                path, "is no model: \(error.reason); give a run, a checkpoint, or a directory with config.json")
        }
        guard format != .checkpoint else {
            try self.init(Self.checkpoint(at: path, report: report))
            return
        }
        var images = ImageOptions()
        images.images = .none
        self.init(
            WeightFile.isNamed(path) ? Paths.parent(of: path) : path, try format.open(path, images: images))
    }

    private init(_ path: String, _ weights: ModelWeights) {
        self.path = path
        self.weights = weights
        (step, tokenizerDigest, autoencoderDigest) = (nil, nil, nil)
    }

    private init(_ checkpoint: Checkpoint) throws {
        path = checkpoint.path
        step = checkpoint.step
        tokenizerDigest = checkpoint.metadata.tokenizer
        autoencoderDigest = checkpoint.metadata.autoencoder
        weights = try ModelWeights(checkpoint).validated(from: checkpoint.path)
    }

    /// The checkpoint that a path names, or the newest that verifies.
    private static func checkpoint(at path: String, report: (SkippedCheckpoint) -> Void) throws -> Checkpoint {
        let location = try CheckpointLocation(path)
        if let single = location.single { return try Checkpoint(single) }
        let newest = try location.store.newestVerified(puttingAside: false, report: report)
        guard let newest else {
            throw CheckpointError(
                location.store.directory, "holds no complete checkpoint; give a run, a checkpoint or a model")
        }
        return newest
    }

    /// The tokenizer's file: beside the weights, or in the directories of the run above them. Nil when there is none.
    public var tokenizerPath: String? {
        let parent = Paths.parent(of: path)
        let places = step == nil ? [path] : [path, parent, Paths.parent(of: parent)]
        let fileSystem = POSIXFileSystem()
        for place in places {
            let found = ModelWeights.vocabularyNames.filter { fileSystem.exists($0, in: place) }.map {
                Paths.join(place, $0)
            }
            guard found.count > 1, let tokenizerDigest else {
                if let file = found.first { return file }
                continue
            }
            // Many models have their tokenizer in both forms; one of them was used.
            return found.first { file in
                let contents = try? fileSystem.contents(file, limit: ModelWeights.tokenizerLimit)
                return contents.map { SHA256.hexDigest($0) } == tokenizerDigest
            } ?? found[0]
        }
        return nil
    }

    /// The copy of the autoencoder whose latents the model was trained on: beside the weights, or in the directory of the run
    /// above them. Nil when there is none.
    public var autoencoderPath: String? {
        let directory = runDirectory ?? path
        return POSIXFileSystem().exists(AutoencoderWeights.copyName, in: directory)
            ? Paths.join(directory, AutoencoderWeights.copyName) : nil
    }

    /// The directory of the run, when the model comes from one.
    public var runDirectory: String? { step == nil ? nil : Paths.parent(of: Paths.parent(of: path)) }

    /// The model in a few words, for people.
    public var name: String {
        guard let runDirectory, let step else { return Paths.name(of: path) }
        return "\(Paths.name(of: runDirectory)) step \(step)"
    }

    /// Fills this rank's part of every parameter of a model of `configuration`.
    ///
    /// - Throws: When a tensor cannot be read or is damaged: an error that names it. The parameters are then in an undefined
    ///   state.
    public func load(into store: ParameterStore) throws { try weights.load(into: store) }
}
