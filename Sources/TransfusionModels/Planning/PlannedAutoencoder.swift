public import TransfusionCore

/// An autoencoder with what is trained and asked beside it.
public struct PlannedAutoencoder: PlannedModel {
    public var model: AutoencoderConfiguration
    /// Of the pictures.
    public var height: Int
    public var width: Int
    /// Whether a codebook has a gradient; else it is an average.
    public var trainsCodebook = true
    public var averagesWeights = false
    /// nil without one.
    public var discriminator: PatchDiscriminator.Configuration?
    /// Whether the discriminator's weight goes by gradients at the decoder's last layer.
    public var weighsAdaptively = true
    public var hasPerceptualNetwork = false
    public var hasIdentityNetwork = false

    public init(_ model: AutoencoderConfiguration, height: Int, width: Int) {
        self.model = model
        self.height = height
        self.width = width
    }

    public var parameterCount: Int {
        Autoencoder.parameterCount(model)
            + (discriminator.map { PatchDiscriminator.parameterShapes($0).values.reduce(0) { $0 + $1.reduce(1, *) } }
                ?? 0)
    }
    public var rowsPerSequence: Int { height / model.downsampling * (width / model.downsampling) }
    public var recomputesSelectively: Bool { false }
    public var splitLimit: String { "an autoencoder, which no ranks share," }
    public func canBeSplit(over ranks: Int) -> Bool { ranks == 1 }

    public func sizes(_ layout: MemoryPlan.Layout, sequences: Int) -> RankSizes {
        let largest = Autoencoder.parameters(model).map(\.globalCount).max() ?? 0
        // Levels differ, and the first ones have most of the cells.
        let channels = model.levels.reduce(0, +) / model.levels.count
        var sizes = RankSizes(
            elements: Autoencoder.elementCounts(model, trainsCodebook: trainsCodebook),
            largestMatrixBytes: 4 * largest, imageElements: sequences * model.pictureChannels * height * width,
            width: channels)
        if averagesWeights { sizes.averagedElements = sizes.elements.trained }
        if let discriminator { sizes.elements += PatchDiscriminator.elementCounts(discriminator) }
        let context = Self.context(layout, PlannedRank(rank: 0, of: 1))
        sizes.otherBytes = networks(context).reduce(0) { $0 + $1.parameters.byteCount }
        if model.kind == .vq {
            // Their use, and of averages the sums and those of a batch.
            sizes.otherBytes += 4 * model.codes * (trainsCodebook ? 1 : 1 + 2 * model.latentChannels)
        }
        return sizes
    }

    private static func context(_ layout: MemoryPlan.Layout, _ rank: PlannedRank) -> Context {
        Context(
            pool: ThreadPool(threads: 1), type: layout.type, allocator: CachingAllocator(isSizesOnly: true),
            tensorParallel: rank)
    }

    private func networks(_ context: Context) -> [any FeatureNetwork] {
        (hasPerceptualNetwork ? [PerceptualNetwork(context)] : [])
            + (hasIdentityNetwork ? [IdentityNetwork(context)] : [])
    }

    /// Micro-batches beyond which each further one takes as much memory as the last.
    private static let mostMicroBatches = 8

    public func cost(_ layout: MemoryPlan.Layout, sequences: Int) throws -> PassCost {
        // Without a discriminator, nothing is kept from one micro-batch to the next.
        let known = discriminator == nil ? 1 : min(layout.microBatches, Self.mostMicroBatches)
        func step(_ microBatches: Int) throws -> PassCost {
            try self.step(layout, pictures: sequences, microBatches: microBatches)
        }
        var cost = try step(1)
        guard known > 1 else { return cost }
        let all = try step(known)
        cost.peakBytes = all.peakBytes
        cost.residentBytes = all.residentBytes
        guard layout.microBatches > known else { return cost }
        let fewer = try step(known - 1), others = layout.microBatches - known
        cost.peakBytes += others * (all.peakBytes - fewer.peakBytes)
        cost.residentBytes += others * (all.residentBytes - fewer.residentBytes)
        return cost
    }

    /// The passes of a rank's step with sizes only, those of a discriminator that is heard included.
    private func step(_ layout: MemoryPlan.Layout, pictures: Int, microBatches: Int) throws -> PassCost {
        let rank = PlannedRank(rank: 0, of: 1), context = Self.context(layout, rank)
        func gradients(_ count: Int) -> Tensor { Tensor([count], .f32, allocator: context.allocator) }
        let pass = TrainingPass(
            self,
            Autoencoder(
                model, context, recomputes: layout.recomputation == .full, trainsCodebook: trainsCodebook,
                gradients: gradients),
            networks(context), [pictures, model.pictureChannels, height, width], context)
        guard let discriminator else {
            return try PassCost(context, rank) { for _ in 0..<microBatches { try pass.train() } }
        }
        let judge = PatchDiscriminator(discriminator, context, gradients: gradients)
        return try PassCost(context, rank) { try pass.train(against: judge, microBatches: microBatches) }
    }
}

/// The passes of a step, of which only the sizes count.
private struct TrainingPass {
    private let plan: PlannedAutoencoder
    private let model: Autoencoder
    private let networks: [any FeatureNetwork]
    /// Of a micro-batch: pictures, channels, height, width.
    private let shape: [Int]
    private let context: Context

    init(
        _ plan: PlannedAutoencoder, _ model: Autoencoder, _ networks: [any FeatureNetwork], _ shape: [Int],
        _ context: Context
    ) {
        self.plan = plan
        self.model = model
        self.networks = networks
        self.shape = shape
        self.context = context
    }

    private func pictures(_ type: ElementType? = nil) -> Tensor { context.pictures([], shape, type) }

    private func reconstruct() -> Autoencoder.Pass {
        let sizes = model.configuration, side = sizes.downsampling
        let latents = [shape[0], sizes.latentChannels, shape[2] / side, shape[3] / side]
        return model.reconstruct(
            pictures(), target: nil, noise: sizes.kind == .kl ? context.pictures([], latents, .f32) : nil,
            scales: Autoencoder.LossScales(absoluteError: 0, latentError: 1), context)
    }

    private func compare(_ reconstruction: Tensor) {
        let target = pictures(.f32)
        _ = context.absoluteError(reconstruction, target: target, scale: 1)
        guard !networks.isEmpty else { return }
        let seen = context.converted(target, to: context.type)
        for network in networks { _ = network.distances(reconstruction, from: seen, scale: 1, context) }
    }

    /// A micro-batch without a discriminator.
    func train() throws {
        context.record { compare(reconstruct().reconstruction) }
        try context.backward()
    }

    /// All micro-batches of a rank, and the discriminator's.
    func train(against judge: PatchDiscriminator, microBatches: Int) throws {
        let known = try survey(judge, microBatches)
        for one in known {
            context.record { context.recordLoss(gradient: one.gradient, of: reconstruct().reconstruction) }
            try context.backward()
        }
        func look(at parts: [Tensor]) throws -> PatchDiscriminator.Survey {
            try judge.survey(parts, group: SingleRank(), reachesPictures: false, context) { hinge($0) }
        }
        let real = try look(at: known.map { _ in pictures() })
        let made = try look(at: known.map(\.reconstruction))
        for one in known {
            context.record {
                recordLoss(of: judge(pictures(), real, context))
                context.usingAgain { recordLoss(of: judge(one.reconstruction, made, context)) }
            }
            try context.backward()
        }
    }

    private func hinge(_ logits: Tensor) -> Tensor { context.hingeLoss(logits, isReal: true, scale: 1).gradient }
    private func recordLoss(of logits: Tensor) { context.recordLoss(gradient: hinge(logits), of: logits) }

    /// What is kept of a micro-batch.
    private struct Known {
        let reconstruction: Tensor
        /// Of the whole loss at the reconstruction.
        let gradient: Tensor
    }

    private func survey(_ judge: PatchDiscriminator, _ microBatches: Int) throws -> [Known] {
        let found = try (0..<microBatches).map { _ in
            let pass = reconstruct()
            context.record { compare(pass.reconstruction) }
            guard let gradient = try context.backward()[pass.reconstruction] else {
                preconditionFailure("the losses of pictures have no gradient")
            }
            return (pass: pass, gradient: gradient)
        }
        let survey = try judge.survey(
            found.map { $0.pass.reconstruction }, group: SingleRank(), reachesPictures: true, context
        ) {
            context.constantGradient(1, of: $0)
        }
        if plan.weighsAdaptively {
            for gradients in [found.map { $0.gradient }, survey.pictureGradients] {
                for (one, gradient) in zip(found, gradients) {
                    _ = model.lastLayerGradient(one.pass, gradient, context)
                }
            }
        }
        return zip(found, survey.pictureGradients).map { one, verdict in
            Known(
                reconstruction: one.pass.reconstruction, gradient: context.sum(one.gradient, verdict, times: 1))
        }
    }
}

extension ParameterStore.ElementCounts {
    fileprivate static func += (sum: inout Self, other: Self) {
        sum.matrices += other.matrices
        sum.vectors += other.vectors
        sum.frozenMatrices += other.frozenMatrices
        sum.frozenVectors += other.frozenVectors
    }
}
