internal import TransfusionCore
internal import TransfusionModels

/// What a directory or a file of weights holds that is no checkpoint, for people and scripts.
public struct ModelSummary: Codable, Sendable {
    public let path: String
    /// The name of its `WeightFormat`.
    public let format: String
    public let parameters: Int
    /// What images are to the model, as `model.images` says it.
    public let images: String
    /// What a plain Llama does not have and would get, in words; empty for a whole model.
    public let drawn: String
    /// What lies beside the weights and was not read, in words.
    public let passedOver: String
    /// The digest of the tokenizer's file.
    public let tokenizer: String?
    public let tensors: [TensorSummary]

    public struct TensorSummary: Codable, Sendable {
        public let name: String
        public let type: String
        public let shape: [Int]
        public let bytes: Int
    }

    /// - Returns: Nil for a checkpoint, which `CheckpointSummary` describes.
    /// - Throws: `CheckpointError` or `FileSystemError` when it is no model.
    public init?(ofWeightsAt path: String) throws {
        if !WeightFile.isNamed(path), CheckpointLocation.isLocation(Set(try POSIXFileSystem().list(path))) {
            return nil
        }
        let format = try WeightFormat(detectedAt: path)
        var images = ImageOptions()
        images.images = .none
        let weights = try format.open(path, images: images)
        self.path = path
        self.format = format.rawValue
        self.images = weights.configuration.images.rawValue
        drawn = weights.drawn.joined(separator: ", ")
        passedOver = weights.passedOver.joined(separator: ", ")
        tokenizer = weights.tokenizer
        tensors = weights.tensors.sorted { $0.key < $1.key }.map { name, tensor in
            TensorSummary(name: name, type: tensor.type.rawValue, shape: tensor.shape, bytes: tensor.byteCount)
        }
        parameters = tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
    }
}
