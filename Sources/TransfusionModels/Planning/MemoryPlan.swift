public import TransfusionCore

/// What one rank of a training run holds in memory, by class, known before anything is allocated.
///
/// A worker reports it at its start and `tf-coord plan` weighs layouts by it; it is the one description of both.
public struct MemoryPlan: Sendable, Equatable, Codable {
    /// The values that the model computes with; in f32 they are the master weights as well.
    public var weights: Int
    public var gradients: Int
    /// What bf16 weights lack of the f32 master weights: their lower halves, shared by the data-parallel ranks.
    public var master: Int
    /// AdamW's two moments, and averages of weights where there are some, shared by the data-parallel ranks.
    public var moments: Int
    /// Forward and backward pass of one micro-batch.
    public var activations: Int
    /// Sums of `reduction: elastic`, memory of the collectives, batches, staging of checkpoints, and the program.
    public var buffers: Int

    public var total: Int { weights + gradients + master + moments + activations + buffers }

    /// What ranks hold together that hold `bytes` each. The largest models on the most ranks take more than can be
    /// counted, and than a host has: `Int.max`.
    public static func total(_ bytes: Int, ranks: Int) -> Int {
        let (product, overflow) = bytes.multipliedReportingOverflow(by: ranks)
        return overflow ? .max : product
    }

    /// The classes with their names, in the order in which they are shown.
    public var classes: [(name: String, bytes: Int)] {
        [
            ("weights", weights), ("gradients", gradients), ("master", master), ("moments", moments),
            ("activations", activations), ("buffers", buffers),
        ]
    }

    /// How a model is trained, as far as memory depends on it.
    public struct Layout: Sendable, Equatable {
        /// Ranks that hold the same part of the model.
        public var data = 1
        /// Ranks that hold one model together.
        public var tensor = 1
        public var sequenceParallel = true
        public var recomputation = TransfusionModel.Recomputation.none
        /// The type that matrices compute in: f32 or bf16.
        public var type = ElementType.bf16
        /// Whether gradients are added in the order of `reduction: elastic`.
        public var isElastic = false
        /// Micro-batches of a rank in each step.
        public var microBatches = 1
        public var saving = Saving.inBackground
        /// Which parameters are trained.
        public var rules = ParameterRules()
        /// The ranks of the data-parallel group on one host, and how many hosts it reaches.
        public var hosts = 1
        /// Elements whose optimizer state the rank keeps; an equal share unless given.
        public var ownedElements: Int?

        public init() {}
    }

    /// When a run writes its checkpoints.
    public enum Saving: Sendable {
        case never
        case inForeground
        case inBackground
    }

    /// What a checkpoint's writer has in hand at most: four threads' chunks and two that wait.
    private static let chunksAtOnce = 6
    private static let checkpointChunk = 8 << 20

    /// - Parameter images: Of a micro-batch at most.
    public init(_ model: ModelConfiguration, _ layout: Layout, _ pass: PassCost, images: Int, programBytes: Int) {
        self.init(RankSizes(model, layout, images: images), layout, pass, programBytes: programBytes)
    }

    /// - Parameters:
    ///   - pass: What forward and backward pass of a micro-batch take on a rank.
    ///   - programBytes: What the program itself takes: code, libraries and their scratch memory.
    public init(_ sizes: RankSizes, _ layout: Layout, _ pass: PassCost, programBytes: Int) {
        let elements = sizes.elements
        let owned = layout.ownedElements ?? (elements.trained + layout.data - 1) / layout.data
        // Of what is frozen, as much as of an equal share.
        let kept = (elements.frozen + layout.data - 1) / layout.data
        weights = elements.byteCount(layout.type) + sizes.otherBytes
        gradients = elements.trained * 4
        master = layout.type == .bf16 ? (owned + kept) * 2 : 0
        let averages = 4 * ((sizes.averagedElements + layout.data - 1) / layout.data)
        moments = owned * 8 + averages
        activations = pass.residentBytes
        buffers = programBytes
        // A sum waits at each level of the tree below the last slot.
        if layout.isElastic {
            buffers += gradients * (Int.bitWidth - 1 - max(1, layout.microBatches).leadingZeroBitCount)
        }
        // Pixels and noise of this micro-batch and of the next one, which is prepared meanwhile.
        buffers += 2 * 2 * 4 * sizes.imageElements
        // What a rank of a tensor-parallel group gives the others to add up, in even and in odd rounds.
        if layout.tensor > 1 { buffers += 2 * ExchangeSizes.stagingBytes }
        // What a rank receives from the other hosts at a time.
        if layout.hosts > 1 { buffers += layout.hosts * ExchangeSizes.messageBytes(hosts: layout.hosts) }
        if layout.saving != .never {
            // Chunks of a checkpoint that are being packed and written, each beside its packed form.
            buffers += 2 * Self.chunksAtOnce * min(Self.checkpointChunk, sizes.largestMatrixBytes)
        }
        // A copy of the rank's share of the checkpoint: master weights and moments, in f32.
        if layout.saving == .inBackground {
            buffers +=
                CheckpointPlan.bytesPerParameter * owned + CheckpointPlan.bytesPerFrozenParameter * kept + averages
        }
    }
}
