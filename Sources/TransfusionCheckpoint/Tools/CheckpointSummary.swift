internal import TransfusionCore

/// What a checkpoint holds, for people and scripts.
public struct CheckpointSummary: Codable, Sendable {
    public let path: String
    public let step: Int
    public let created: Int
    public let program: String?
    public let formatVersion: Int
    public let storedBytes: Int
    public let tensorBytes: Int
    public let metadata: CheckpointMetadata
    public let files: [String: Int]
    public let tensors: [TensorSummary]

    public struct TensorSummary: Codable, Sendable {
        public let name: String
        public let type: String
        public let shape: [Int]
        public let bytes: Int
        /// Bytes in the shard files.
        public let storedBytes: Int
        /// The number of boxes that it is cut into.
        public let boxes: Int
        /// SHA-256 over the digests of its chunks, in the order of the boxes' places: equal for equal files.
        public let digest: String
    }

    public init(_ checkpoint: Checkpoint) {
        path = checkpoint.path
        step = checkpoint.step
        created = checkpoint.created
        program = checkpoint.program
        formatVersion = checkpoint.formatVersion
        storedBytes = checkpoint.storedBytes
        tensorBytes = checkpoint.tensorBytes
        metadata = checkpoint.metadata
        files = checkpoint.files
        tensors = checkpoint.manifest.tensors.sorted { $0.key < $1.key }.map { name, tensor in
            let boxes = tensor.boxes.sorted { $0.offsets.lexicographicallyPrecedes($1.offsets) }
            let chunks = boxes.flatMap(\.chunks)
            return TensorSummary(
                name: name, type: tensor.type.rawValue, shape: tensor.shape,
                bytes: tensor.shape.reduce(1, *) * tensor.type.byteCount,
                storedBytes: chunks.reduce(0) { $0 + $1.bytes }, boxes: boxes.count,
                digest: SHA256.hexDigest(chunks.flatMap { Array($0.sha256.utf8) }))
        }
    }

    /// Whether the checkpoint can be trained on from here.
    public var hasOptimizerState: Bool { tensors.contains { $0.name.hasPrefix(ModelWeights.optimizerPrefix) } }
}
