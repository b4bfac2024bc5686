public import TransfusionCore

/// What is trained, as the planner sees it: what it takes of memory and work in each layout.
public protocol PlannedModel: Sendable {
    /// Of the whole model and of all that is trained beside it.
    var parameterCount: Int { get }
    /// Tokens and patches of a sequence, or cells of a picture's latents.
    var rowsPerSequence: Int { get }
    /// Whether attention alone can be computed again.
    var recomputesSelectively: Bool { get }
    /// Over how many ranks it cannot be split, and why: what follows "not possible for".
    var splitLimit: String { get }

    func canBeSplit(over ranks: Int) -> Bool
    /// - Parameter sequences: Of a micro-batch.
    func sizes(_ layout: MemoryPlan.Layout, sequences: Int) -> RankSizes
    /// What a micro-batch takes on the rank that has the most: its memory is that of all of a step's, its work its own.
    func cost(_ layout: MemoryPlan.Layout, sequences: Int) throws -> PassCost
}

/// What a rank holds of a model beside its passes.
public struct RankSizes: Sendable, Equatable {
    public var elements: ParameterStore.ElementCounts
    /// Elements of which the data-parallel ranks together keep a running average.
    public var averagedElements = 0
    /// What is only read, or changed by no optimizer.
    public var otherBytes = 0
    /// Of the largest matrix in f32, or the rank's part of it.
    public var largestMatrixBytes: Int
    /// Numbers of the images of a micro-batch.
    public var imageElements: Int
    /// The columns of most of its activations, by which passes over memory weigh beside the products.
    public var width: Int

    public init(_ model: ModelConfiguration, _ layout: MemoryPlan.Layout, images: Int) {
        elements = TransfusionModel.elementCounts(
            model, tensorRank: layout.tensor - 1, tensorSize: layout.tensor, rules: layout.rules)
        largestMatrixBytes = 4 * model.width * max(model.vocabulary, model.feedForward) / layout.tensor
        imageElements = images * model.imageChannels * model.imageHeight * model.imageWidth
        width = model.width
    }

    init(elements: ParameterStore.ElementCounts, largestMatrixBytes: Int, imageElements: Int, width: Int) {
        self.elements = elements
        self.largestMatrixBytes = largestMatrixBytes
        self.imageElements = imageElements
        self.width = width
    }
}

/// A Transfusion model with the batches that it is trained on.
public struct PlannedTransfusion: PlannedModel {
    public let model: ModelConfiguration
    private let sequenceLength: Int
    private let textToImageRatio: Double

    /// - Parameter textToImageRatio: Text tokens for each image patch.
    public init(_ model: ModelConfiguration, sequenceLength: Int, textToImageRatio: Double) {
        self.model = model
        self.sequenceLength = sequenceLength
        self.textToImageRatio = textToImageRatio
    }

    public var parameterCount: Int { TransfusionModel.parameterCount(model) }
    public var rowsPerSequence: Int { sequenceLength }
    public var recomputesSelectively: Bool { true }
    public var splitLimit: String { "\(model.heads) heads, \(model.keyValueHeads) of keys," }
    public func canBeSplit(over ranks: Int) -> Bool { model.canBeSplit(over: ranks) }

    public func sizes(_ layout: MemoryPlan.Layout, sequences: Int) -> RankSizes {
        RankSizes(model, layout, images: microBatch(sequences).mostImages)
    }

    public func cost(_ layout: MemoryPlan.Layout, sequences: Int) throws -> PassCost {
        try TransfusionModel.cost(model, layout, microBatch(sequences))
    }

    private func microBatch(_ sequences: Int) -> MicroBatchSizes {
        MicroBatchSizes(
            model, sequences: sequences, sequenceLength: sequenceLength, textToImageRatio: textToImageRatio)
    }
}
