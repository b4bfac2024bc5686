internal import Foundation
internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionInference
internal import TransfusionModels
internal import TransfusionParallel

/// An autoencoder that learns to give pictures back: the mean absolute error of the pixels, and what keeps the latents near
/// the unit normal, or near the codes of a codebook; and, where the configuration wants one, the verdict of a discriminator
/// that is trained beside it.
struct AutoencoderTask: RunTask {
    /// Pictures, and the noise that their latents are drawn with.
    struct Batch: Sendable {
        let pictures: [Float]  // [pictures, channels, height, width]
        let noise: [Float]  // [pictures, latent channels, height, width]; empty with a codebook
        let address: BatchAddress

        var count: Int { address.sequences.count }
    }

    let configuration: RunConfiguration
    let source: PictureStream
    let resources: TrainingResources
    let model: Autoencoder
    let pictureLosses: PictureLosses
    /// nil without a codebook.
    private let codebookUpkeep: CodebookUpkeep?
    /// nil when there is no discriminator.
    let adversary: Adversary?
    let players: [Player]

    private static let divergence = "kl"
    private static let codebook = "codebook"
    /// Pictures that samples show.
    private static let sampleCount = 8

    /// - Throws: `SharedFailure` when the model does not fit into the memory of a host.
    init(_ configuration: RunConfiguration, _ source: PictureStream, _ resources: TrainingResources) throws {
        try resources.group.agree("planning the memory") {
            try Self.checkMemory(configuration, source, resources)
        }
        self.configuration = configuration
        self.source = source
        self.resources = resources
        model = try Autoencoder(
            try PictureStream.autoencoder(configuration, of: source.dataset), resources.context,
            recomputes: configuration.parallel.recompute == .full,
            trainsCodebook: configuration.autoencoder.codebook == .gradient, gradients: resources.makeGradients)
        var losses: PictureLosses?
        try resources.group.agree("reading the networks of the losses") {
            losses = try PictureLosses(configuration, source.dataset.manifest.image, resources.context)
        }
        guard let losses else { preconditionFailure("all ranks agreed on losses that are not there") }
        pictureLosses = losses
        codebookUpkeep = model.codebook.map { CodebookUpkeep($0, configuration, resources.context) }
        adversary = try Adversary(configuration, source.dataset.manifest.image, resources)
        let player = Player(
            "autoencoder", model.parameters, configuration, averageDecay: configuration.autoencoder.averageDecay)
        // The discriminator is number 1 wherever there is one.
        players = [player] + [adversary?.player, codebookUpkeep?.player].compactMap(\.self)
    }

    var dataset: PackedDataset { source.dataset }
    private var image: DatasetManifest.ImageShape { dataset.manifest.image }
    /// Channels, height and width of a latent.
    private var latentShape: [Int] {
        let side = model.configuration.downsampling
        return [model.configuration.latentChannels, image.height / side, image.width / side]
    }

    var description: [String] {
        let sizes = model.configuration
        return [
            "autoencoder: \(configuration.autoencoder.preset.rawValue), \(sizes.kind.rawValue), \(model.parameters.globalCount) "
                + "parameters; pictures of \(image.height) × \(image.width) × \(image.channels) become latents of "
                + "\(latentShape[1]) × \(latentShape[2]) × \(latentShape[0])"
                + (sizes.kind == .vq ? " out of \(sizes.codes) codes" : "")
                + (sizes.codeNorm == .l2 ? " of length 1" : "")
        ] + [codebookUpkeep?.description].compactMap(\.self) + pictureLosses.description
            + (adversary.map { [$0.description] } ?? []) + [
                "data: \(dataset.path), digest \(dataset.manifest.digest.prefix(12)); \(source.count) pictures"
            ]
    }

    var makeBatch: @Sendable (BatchAddress) throws -> Batch {
        let latents = model.configuration.kind == .kl ? latentShape.reduce(1, *) : 0
        return { [source, seed = UInt64(configuration.seed), global = configuration.batch.globalSequences] address in
            var pictures: [Float] = []
            var noise = [Float](repeating: 0, count: latents * address.sequences.count)
            for (place, sequence) in address.sequences.enumerated() {
                pictures += try source.picture(at: address.step * global + sequence)
                // The noise of a picture depends on (seed, step, its place in the global batch) only.
                noise.withUnsafeMutableBufferPointer { all in
                    let part = UnsafeMutableBufferPointer(rebasing: all[place * latents..<(place + 1) * latents])
                    Philox(seed: seed, purpose: .noise, step: address.step, index: sequence).fillNormal(part)
                }
            }
            return Batch(pictures: pictures, noise: noise, address: address)
        }
    }

    func counts(step: Int) -> BatchCounts {
        let pictures = configuration.batch.globalSequences, cells = latentShape[1] * latentShape[2]
        let names =
            pictureLosses.names + [model.configuration.kind == .kl ? Self.divergence : Self.codebook]
            + (adversary == nil ? [] : Adversary.Part.allCases.map(\.rawValue))
        return BatchCounts(
            denominators: Dictionary(uniqueKeysWithValues: names.map { ($0, pictures) }), tokens: pictures * cells,
            images: pictures, patches: pictures * cells, rows: pictures * cells)
    }

    func losses(_ batch: Batch, _ counts: BatchCounts, player: Int, _ context: Context) -> [NamedSum] {
        if let adversary, player == 1 {
            return adversary.losses(pictures(batch, context), batch.address, counts, context)
        }
        let pass = pass(batch, counts, context)
        if let codes = pass.codes, let compared = pass.compared {
            codebookUpkeep?.take(codes, of: compared, batch.address)
        }
        if let known = adversary?.surveyed(batch.address) {
            context.recordLoss(gradient: known.gradient, of: pass.reconstruction)
            return known.parts + [latentPart(pass, counts)]
        }
        adversary?.keep(pass.reconstruction, at: batch.address)
        return errors(of: pass.reconstruction, batch, counts, context) + [latentPart(pass, counts)]
    }

    /// The pictures of a batch, as the autoencoder and the discriminator get them.
    func pictures(_ batch: Batch, _ context: Context) -> Tensor {
        context.pictures(batch.pictures, [batch.count, image.channels, image.height, image.width])
    }

    /// A batch through the autoencoder. While recording, the only loss is that of the latents.
    func pass(_ batch: Batch, _ counts: BatchCounts, _ context: Context) -> Autoencoder.Pass {
        let isGaussian = model.configuration.kind == .kl
        let scale = latentWeight / (latentNumbers * Double(counts.images))
        return model.reconstruct(
            pictures(batch, context), target: nil,
            noise: isGaussian ? context.pictures(batch.noise, [batch.count] + latentShape, .f32) : nil,
            scales: Autoencoder.LossScales(absoluteError: 0, latentError: Float(scale)), context)
    }

    /// The losses of reconstructions against their pictures; while recording, the backward pass gives their gradient.
    func errors(
        of reconstruction: Tensor, _ batch: Batch, _ counts: BatchCounts, _ context: Context
    ) -> [NamedSum] {
        let shape = [batch.count, image.channels, image.height, image.width]
        return pictureLosses(
            reconstruction, target: context.pictures(batch.pictures, shape, .f32), counts, context)
    }

    /// A picture's codebook loss is the mean of its vectors' numbers, its divergence a sum.
    private var latentNumbers: Double {
        model.configuration.kind == .kl ? 1 : Double(latentShape.reduce(1, *))
    }
    private var latentWeight: Double {
        model.configuration.kind == .kl
            ? configuration.objective.divergenceWeight : configuration.objective.codebookWeight
    }

    private func latentPart(_ pass: Autoencoder.Pass, _ counts: BatchCounts) -> NamedSum {
        let sum = pass.latentErrors.reduce(0, +)
        guard model.configuration.kind == .vq else { return counts.part(Self.divergence, sum, weight: latentWeight) }
        // A codebook of averages has no loss of its own: what is left draws the features to their codes.
        let codes = configuration.autoencoder.codebook == .gradient ? 1.0 : 0.0
        return counts.part(
            Self.codebook, (codes + Double(AutoencoderConfiguration.commitment)) * sum / latentNumbers,
            weight: latentWeight)
    }
}

extension AutoencoderTask {
    func needsSurvey(player: Int, step: Int) -> Bool {
        adversary.map { player == 1 || $0.counts(at: step) } ?? false
    }

    func survey(
        _ batches: [Batch], _ counts: BatchCounts, player: Int, group: any Collectives, _ context: Context
    ) throws {
        guard let adversary else { return }
        if player == 1 {
            try adversary.survey(
                batches.map { (pictures($0, context), $0.address) }, counts, group: group, context)
        } else {
            try adversary.surveyReconstructions(
                batches.map { batch in
                    let pass = pass(batch, counts, context)
                    let parts = context.record { errors(of: pass.reconstruction, batch, counts, context) }
                    guard let gradient = try context.backward()[pass.reconstruction] else {
                        preconditionFailure("the losses of pictures have no gradient")
                    }
                    return Adversary.Reconstruction(
                        address: batch.address, pass: pass, gradient: gradient, parts: parts)
                }, of: model, counts, group: group, context)
        }
    }

    func conclude(player: Int, step: Int, optimizer: AdamW, group: any Collectives) throws -> [NamedSum] {
        guard player == 0 else {
            adversary?.forget()
            return []
        }
        return try codebookUpkeep?.conclude(step: step, optimizer: optimizer, group: group) ?? []
    }

    func warnings(after step: StepSummary) -> [String] {
        adversary?.watch.observe(step.losses.means, step: step.step).map { [$0] } ?? []
    }
}

extension AutoencoderTask {
    var initialWeights: String? { configuration.model.initialWeights }

    func checkInitialWeights(_ path: String, options: CheckpointOptions) throws {
        _ = try openInitialWeights(path, options)
    }

    func begin(from path: String?, options: CheckpointOptions) throws -> String? {
        // No public weights have a discriminator, so it always begins anew.
        adversary?.discriminator.parameters.initialize(seed: UInt64(configuration.seed))
        defer { codebookUpkeep?.begin() }
        guard let path else {
            model.parameters.initialize(seed: UInt64(configuration.seed))
            return nil
        }
        let weights = try openInitialWeights(path, options)
        try weights.load(into: model.parameters)
        return "initial weights: \(weights.path)" + (weights.step.map { ", step \($0)" } ?? "")
    }

    private func openInitialWeights(_ path: String, _ options: CheckpointOptions) throws -> AutoencoderWeights {
        let weights = try AutoencoderWeights(path, options: options)
        guard Self.isSame(weights.configuration, model.configuration) else {
            throw CommandFailure(
                "model.initial_weights: \(weights.path) is another autoencoder than autoencoder.preset "
                    + "\(configuration.autoencoder.preset.rawValue) with kind \(configuration.autoencoder.kind.rawValue)"
                    + (weights.configuration.codeNorm == model.configuration.codeNorm
                        ? "" : " and code_norm \(configuration.autoencoder.codeNorm.rawValue)"),
                .wrongUse)
        }
        return weights
    }

    /// Whether two describe the same tensors with the same use. How latents are scaled, and the size of pictures, does not
    /// matter to training.
    private static func isSame(_ first: AutoencoderConfiguration, _ second: AutoencoderConfiguration) -> Bool {
        func tensorsOnly(_ configuration: AutoencoderConfiguration) -> AutoencoderConfiguration {
            var configuration = configuration
            configuration.pictureSize = nil
            configuration.latentScale = 1
            configuration.latentShift = 0
            return configuration
        }
        return tensorsOnly(first) == tensorsOnly(second)
    }

    private static let digestsName = "loss_networks"

    func metadata(layout: [String: Int], counters: [String: JSONValue]) throws -> CheckpointMetadata {
        var scalars = counters
        if !pictureLosses.digests.isEmpty {
            scalars[Self.digestsName] = .object(pictureLosses.digests.mapValues(JSONValue.string))
        }
        return try CheckpointMetadata(
            autoencoder: model.configuration, data: dataset.manifest.digest, layout: layout, scalars: scalars)
    }

    func check(_ checkpoint: Checkpoint, isOfRun: Bool) throws {
        let saved = try AutoencoderWeights(checkpoint).configuration
        guard Self.isSame(saved, model.configuration) else {
            throw CommandFailure(
                "\(checkpoint.path): holds another autoencoder than the configuration and its data set describe; "
                    + "compare with 'tf-ckpt inspect'", .wrongUse)
        }
        let averages = checkpoint.tensors[CodebookUpkeep.sumsName] != nil
        guard model.codebook == nil || averages == (configuration.autoencoder.codebook == .ema) else {
            throw CommandFailure(
                "\(checkpoint.path): its codebook was trained with autoencoder.codebook: \(averages ? "ema" : "gradient"); "
                    + "give that, or start a new run with model.initial_weights", .wrongUse)
        }
        let digest = dataset.manifest.digest
        if isOfRun, let data = checkpoint.metadata.data, data != digest {
            throw CommandFailure(
                "\(dataset.path): digest \(digest.prefix(12)) is not the \(data.prefix(12)) that the run "
                    + "was trained on until step \(checkpoint.step); give data.path that data set, or begin a new run",
                .wrongUse)
        }
        let networks = checkpoint.metadata.scalars[Self.digestsName]
        if isOfRun, let problem = pictureLosses.difference(from: { networks?[$0]?.string }) {
            throw CommandFailure("\(problem) until step \(checkpoint.step); give those, or begin a new run", .wrongUse)
        }
    }

    /// Some pictures of the data set with what the model makes of them, always the same ones, without noise.
    func drawSamples(step: Int, into run: RunDirectory?, _ context: Context) throws -> [TrainingSamples.Sample] {
        guard image.channels == 3, let run else { return [] }
        let count = min(Self.sampleCount, source.count)
        let originals = try (0..<count).flatMap { try source.fixedPicture($0) }
        let pictures = context.pictures(originals, [count, image.channels, image.height, image.width])
        let made = context.channelsFirst(
            model.pictures(of: model.latents(of: pictures, context), context))
        func picture(_ values: [Float], _ index: Int) -> Picture {
            Picture(
                width: image.width, height: image.height,
                planes: values[index * image.elements..<(index + 1) * image.elements])
        }
        return try TrainingSamples.writeReconstructions(
            (0..<count).map { (original: picture(originals, $0), reconstruction: picture(made, $0)) }, step: step,
            into: run)
    }
}

extension TrainingSetup where Task == AutoencoderTask {
    /// - Throws: `SharedFailure` with one line for each problem of the configuration.
    init(_ configuration: RunConfiguration, group: any Communicator, ranksOnHost: Int) throws {
        var source: PictureStream?
        try group.agree("opening the data set") {
            source = try PictureStream(
                configuration, dataset: try PackedDataset(configuration.data.path), ranks: group.size)
        }
        guard let source else { preconditionFailure("all ranks agreed on a data set that is not there") }
        let resources = try TrainingResources(configuration, group: group, ranksOnHost: ranksOnHost)
        try self.init(configuration, resources, try AutoencoderTask(configuration, source, resources))
    }
}
