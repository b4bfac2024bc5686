public import TransfusionCore
public import TransfusionModels
import TransfusionSupport

/// A model on its way from one format to another.
public struct ModelWeights: Sendable {
    public var configuration: ModelConfiguration
    /// Rows of the longest sequence that the model was trained on, when that is known.
    public var contextLength: Int?
    /// What transformers calls the text part, as far as its options leave a choice.
    public var family = LlamaFamily.llama
    /// The parameters under the names of this project.
    public var tensors: [String: SourceTensor]
    public var step = 0
    /// The identity of the tokenizer and of the data, when they are known.
    public var tokenizer: String?
    public var data: String?
    /// Files of the tokenizer, which travel along.
    public var tokenizerFiles: [String] = []
    /// What the source does not hold and has its initial values: names of parameters, or some of their rows in words.
    public var drawn: [String] = []
    /// What lies beside the weights and was not read, in words.
    public var passedOver: [String] = []

    static let tokenizerModel = "tokenizer.model"
    static let tokenizerJSON = "tokenizer.json"
    /// The forms of a tokenizer that models are trained with. The first one that is there identifies it.
    static let vocabularyNames = [tokenizerModel, tokenizerJSON]
    private static let tokenizerNames =
        vocabularyNames + ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]
    /// The most bytes of one of the tokenizer's files.
    static let tokenizerLimit = 256 << 20
    static let optimizerPrefix = "optimizer."

    var description: ModelDescription { ModelDescription(configuration, contextLength: contextLength, family: family) }

    init(_ configuration: ModelConfiguration, _ tensors: [String: SourceTensor]) {
        self.configuration = configuration
        self.tensors = tensors
    }

    /// The weights of a training checkpoint, without the state of the optimizer.
    public init(_ checkpoint: Checkpoint) throws {
        let description = try checkpoint.modelDescription(), configuration = description.configuration
        try checkpoint.require(configuration.parameterShapes) { !$0.hasPrefix(Self.optimizerPrefix) }
        self.init(
            configuration,
            checkpoint.tensors.filter { !$0.key.hasPrefix(Self.optimizerPrefix) }.mapValues {
                SourceTensor($0, of: checkpoint)
            })
        contextLength = description.contextLength
        family = description.family
        step = checkpoint.step
        tokenizer = checkpoint.metadata.tokenizer
        data = checkpoint.metadata.data
        tokenizerFiles = Self.tokenizerFiles(of: checkpoint)
    }

    /// The tokenizer's files beside a checkpoint, or in the directories of its run.
    static func tokenizerFiles(of checkpoint: Checkpoint) -> [String] {
        let parent = Paths.parent(of: checkpoint.path)
        return tokenizerFiles(in: [checkpoint.path, parent, Paths.parent(of: parent)])
    }

    /// The tokenizer's files in the first of the directories that has some.
    static func tokenizerFiles(in directories: [String]) -> [String] {
        for directory in directories {
            let names = Set((try? POSIXFileSystem().list(directory)) ?? [])
            let found = tokenizerNames.filter(names.contains)
            if !found.isEmpty { return found.map { Paths.join(directory, $0) } }
        }
        return []
    }

    /// Takes along the tokenizer's files in `directory`, and the identity of what they describe.
    mutating func takeTokenizer(from directory: String) throws {
        tokenizerFiles = Self.tokenizerFiles(in: [directory])
        guard let model = tokenizerFiles.first(where: { Self.vocabularyNames.contains(Paths.name(of: $0)) }) else {
            return
        }
        tokenizer = SHA256.hexDigest(try POSIXFileSystem().contents(model, limit: Self.tokenizerLimit))
    }

    /// Fills this rank's part of every parameter of a model of `configuration`.
    /// - Throws: When a tensor cannot be read or is damaged: an error that names it. The parameters are then in an undefined
    ///   state.
    public func load(into store: ParameterStore) throws { try tensors.load(into: store) }

    /// Refuses a configuration of which no model can be made, and weights that are not exactly those of it.
    func validated(from path: String) throws -> ModelWeights {
        if let problem = configuration.problems().first {
            throw CheckpointError(path, "describes an impossible model: \(problem)")
        }
        try tensors.require(configuration.parameterShapes, of: path)
        return self
    }
}

extension CheckpointStore {
    /// Writes weights as a checkpoint without optimizer state: as f32, from which a run can start.
    @discardableResult
    public func write(_ weights: ModelWeights, step: Int) throws -> SavedCheckpoint {
        let pieces = weights.tensors.sorted { $0.key < $1.key }.map { name, tensor in
            let tensor = tensor.converted(to: .f32)
            return ShardPiece(TensorBox(name: name, type: .f32, shape: tensor.shape), fill: tensor.read)
        }
        let metadata = try CheckpointMetadata(
            configuration: weights.configuration, contextLength: weights.contextLength, family: weights.family,
            tokenizer: weights.tokenizer,
            data: weights.data, layout: ["data": 1, "tensor": 1])
        return try save(step: step, metadata: metadata, pieces: pieces)
    }
}
