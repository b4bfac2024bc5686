internal import TransfusionConfig
public import TransfusionCore
public import TransfusionModels

/// A piece of a sequence: text, or an image as the model sees it.
public enum SequencePart: Sendable, Equatable {
    /// Token ids without BOS, EOS, BOI and EOI.
    case text([Int32])
    /// `[channels, height, width]`; pixels are in −1 … 1.
    case image([Float])
}

/// Continues sequences of text and images, and draws images for prompts.
///
/// The layout is that of training (decision D1): `[BOS] text [BOI] patches [EOI] text [EOS]`.
public final class Generator {
    public let model: TransfusionModel
    let context: Context
    /// Rows of the longest sequence.
    public let contextLength: Int
    /// Bytes of cache and activations that images drawn together may take.
    private let memoryLimit: Int
    /// What errors call the model.
    private let name: String

    /// - Parameters:
    ///   - context: Must not be recording.
    ///   - contextLength: Rows of the longest sequence that the model was trained on.
    ///   - memoryLimit: Bounds how many images are drawn in one batch; one always is.
    ///   - name: What errors call the model.
    public init(
        _ model: TransfusionModel, _ context: Context, contextLength: Int, memoryLimit: Int = 1 << 30,
        name: String = "the model"
    ) {
        self.model = model
        self.context = context
        self.contextLength = contextLength
        self.memoryLimit = memoryLimit
        self.name = name
    }

    var configuration: ModelConfiguration { model.configuration }

    /// What the random numbers of an image follow from.
    public struct ImageSeed: Sendable {
        let seed: UInt64
        /// Which image of its sequence it is.
        let index: Int

        public init(_ seed: UInt64, index: Int = 0) {
            self.seed = seed
            self.index = index
        }

        func fill(_ values: UnsafeMutableBufferPointer<Float>, drawing: Int) {
            Philox(seed: seed, purpose: .sampling, step: drawing, index: index).fillNormal(values)
        }
    }

    /// Draws one image for each prompt, as many at a time as fit into memory.
    ///
    /// - Parameters:
    ///   - prompts: Token ids without BOS and BOI; an empty prompt draws without condition.
    ///   - seeds: One for each prompt.
    ///   - progress: Gets how many of the `prompts.count · settings.steps` steps are done.
    /// - Returns: For each prompt `[channels, height, width]`.
    /// - Throws: `CommandFailure` when a prompt does not fit into the context.
    public func images(
        for prompts: [[Int32]], seeds: [ImageSeed], _ settings: ImageSettings, progress: (Int) -> Void = { _ in }
    ) throws -> [[Float]] {
        precondition(prompts.count == seeds.count)
        let patches = configuration.patchesPerImage
        for prompt in prompts { try requireRoom(for: prompt.count + 2 + patches) }
        let longest = (prompts.map(\.count).max() ?? 0) + 2 + patches
        let together = max(1, memoryLimit / bytes(rowsOfSequence: longest, guided: settings.usesGuidance))
        var images: [[Float]] = []
        for first in stride(from: 0, to: prompts.count, by: together) {
            let part = first..<min(first + together, prompts.count)
            let capacities = part.map { prompts[$0].count + 2 + patches }
            let unguided = settings.usesGuidance ? part.map { _ in 2 + patches } : []
            let batch = SequenceBatch(model, capacities: capacities + unguided, context)
            let conditional = Array(0..<part.count)
            let unconditional = unguided.indices.map { part.count + $0 }
            // The unconditional branch drops the caption; BOS and BOI remain (decision D8).
            try batch.append(
                part.enumerated().map { ($0, [configuration.beginOfText] + prompts[$1] + [configuration.beginOfImage]) }
                    + unconditional.map { ($0, [configuration.beginOfText, configuration.beginOfImage]) })
            let drawn = try draw(
                in: batch, at: conditional, unconditional: unconditional, seeds: Array(seeds[part]), settings
            ) { step in
                progress(first * settings.steps + step * part.count)
            }
            let size = drawn.count / part.count
            images += part.indices.map { Array(drawn[($0 - first) * size..<($0 - first + 1) * size]) }
        }
        return images
    }

    /// What a continuation may consist of.
    public struct Continuation: Sendable {
        public var text = TextSettings()
        public var image = ImageSettings()
        /// How many images may be made; with 0, BOI is never chosen.
        public var maximumImages = 0
        /// Whether the continuation begins with an image, whatever the model thinks of it.
        public var beginsWithImage = false

        public init() {}
    }

    /// Continues a sequence until EOS, the limits of the settings, or the end of the context.
    ///
    /// - Parameters:
    ///   - prompt: What is there already; images in it are taken as finished.
    ///   - progress: Gets how many tokens and steps of images are done.
    ///   - goesOn: Gets each token of text, and says whether the text goes on after it.
    /// - Returns: The new parts.
    /// - Throws: `CommandFailure` when the prompt does not fit into the context.
    public func continuation(
        of prompt: [SequencePart], _ settings: Continuation, seed: UInt64, progress: (Int) -> Void = { _ in },
        goesOn: (Int32) throws -> Bool = { _ in true }
    ) throws -> [SequencePart] {
        let imageRows = 2 + configuration.patchesPerImage
        let promptRows = prompt.reduce(1) { rows, part in
            switch part {
            case .text(let tokens): rows + tokens.count
            case .image: rows + imageRows
            }
        }
        try requireRoom(for: promptRows + (settings.beginsWithImage ? imageRows : 1))
        let wanted = promptRows + settings.text.maximumTokens + settings.maximumImages * imageRows
        let isGuided = settings.maximumImages > 0 && settings.image.usesGuidance
        let batch = SequenceBatch(
            model, capacities: [min(wanted, contextLength)] + (isGuided ? [imageRows] : []), context)
        if isGuided { try batch.append([(1, [configuration.beginOfText, configuration.beginOfImage])]) }

        var rows = try append(prompt, to: batch)
        var writer = Writer(seed: seed, settings: settings)
        if settings.beginsWithImage {
            rows = try batch.append([(0, [configuration.beginOfImage])])
            rows = try drawImage(in: batch, isGuided: isGuided, &writer, progress)
        }
        let sampler = TokenSampler(settings.text, seed: seed)
        var earlier = tokens(of: prompt)
        while writer.tokens < settings.text.maximumTokens, batch.room(of: 0) > 0 {
            let mayDraw = writer.images < settings.maximumImages && batch.room(of: 0) >= imageRows
            let logits = try batch.lastLogits(rows)[0]
            try requireFinite(logits)
            let token = sampler.choose(from: logits, at: batch.count(of: 0), after: earlier) {
                // BOS begins and EOI ends what the model does not write itself.
                $0 != configuration.beginOfText && $0 != configuration.endOfImage
                    && (mayDraw || $0 != configuration.beginOfImage)
            }
            if token == configuration.endOfText { break }
            earlier.insert(token)
            rows = try batch.append([(0, [token])])
            if token == configuration.beginOfImage {
                rows = try drawImage(in: batch, isGuided: isGuided, &writer, progress)
            } else {
                writer.add(token)
                guard try goesOn(token) else { break }
            }
            progress(writer.work)
        }
        return writer.parts
    }

    /// The tokens that a sequence begins with, each once.
    private func tokens(of prompt: [SequencePart]) -> Set<Int32> {
        prompt.reduce(into: [configuration.beginOfText]) { tokens, part in
            switch part {
            case .text(let text): tokens.formUnion(text)
            case .image: tokens.formUnion([configuration.beginOfImage, configuration.endOfImage])
            }
        }
    }

    /// Collects what a continuation has become.
    private struct Writer {
        let seed: UInt64
        let settings: Continuation
        var parts: [SequencePart] = []
        var tokens = 0
        var images = 0

        var work: Int { tokens + images * settings.image.steps }

        mutating func add(_ token: Int32) {
            tokens += 1
            if case .text(let earlier)? = parts.last {
                parts[parts.count - 1] = .text(earlier + [token])
            } else {
                parts.append(.text([token]))
            }
        }

        mutating func add(image: [Float]) {
            images += 1
            parts.append(.image(image))
        }
    }

    /// Puts BOS and the prompt into an empty sequence.
    private func append(_ prompt: [SequencePart], to batch: SequenceBatch) throws -> SequenceBatch.Rows {
        var waiting = [configuration.beginOfText]
        for part in prompt {
            switch part {
            case .text(let tokens): waiting += tokens
            case .image(let image):
                try batch.append([(0, waiting + [configuration.beginOfImage])])
                try batch.append(images: image, to: [0])
                waiting = [configuration.endOfImage]
            }
        }
        return try batch.append([(0, waiting)])
    }

    /// Draws an image after BOI, and brings it and EOI into the sequence.
    private func drawImage(
        in batch: SequenceBatch, isGuided: Bool, _ writer: inout Writer, _ progress: (Int) -> Void
    ) throws -> SequenceBatch.Rows {
        let done = writer.work
        let image = try draw(
            in: batch, at: [0], unconditional: isGuided ? [1] : [],
            seeds: [ImageSeed(writer.seed, index: writer.images)], writer.settings.image
        ) { progress(done + $0) }
        try batch.append(images: image, to: [0])
        writer.add(image: image)
        return try batch.append([(0, [configuration.endOfImage])])
    }

    /// Denoises one image at the end of each conditional sequence; the images do not become part of the sequences.
    ///
    /// - Returns: `[sequences, channels, height, width]`.
    private func draw(
        in batch: SequenceBatch, at conditional: [Int], unconditional: [Int], seeds: [ImageSeed],
        _ settings: ImageSettings, progress: (Int) -> Void
    ) throws -> [Float] {
        let size = configuration.patchesPerImage * configuration.patchWidth
        func fill(_ values: UnsafeMutableBufferPointer<Float>, drawing: Int) {
            for (image, seed) in seeds.enumerated() {
                seed.fill(
                    UnsafeMutableBufferPointer(rebasing: values[image * size..<(image + 1) * size]), drawing: drawing)
            }
        }
        var images = [Float](repeating: 0, count: conditional.count * size)
        images.withUnsafeMutableBufferPointer { fill($0, drawing: 0) }
        let sampler = settings.sampler
        let scale = Float(settings.guidanceScale)
        for (step, timestep) in sampler.timesteps.enumerated() {
            var noise: [Float]
            if unconditional.isEmpty {
                noise = try batch.predictedNoise(in: images, timestep: timestep, at: conditional)
            } else {
                let both = try batch.predictedNoise(
                    in: images, timestep: timestep, at: conditional + unconditional)
                noise = (0..<images.count).map { i in
                    let without = both[images.count + i]
                    return without + scale * (both[i] - without)
                }
            }
            try requireFinite(noise)
            sampler.advance(&images, predictedNoise: noise, step: step) { fill($0, drawing: step + 1) }
            progress(step + 1)
        }
        return images
    }

    /// Refuses to go on with what the model has computed when it is no number.
    func requireFinite(_ values: [Float]) throws {
        guard let value = values.first(where: { !$0.isFinite }) else { return }
        let broken = model.parameters.parameters.first { $0.value?.floats().allSatisfy(\.isFinite) == false }
        throw CommandFailure(
            "\(name): the model computes \(value) where a number belongs"
                + (broken.map { ", as \($0.name) holds values that are no numbers" } ?? "")
                + "; take a checkpoint from before it diverged")
    }

    func requireRoom(for rows: Int) throws {
        guard rows > contextLength else { return }
        throw CommandFailure(
            "the prompt needs \(rows) rows (tokens and patches), the model was trained on \(contextLength); shorten the prompt",
            .wrongUse)
    }

    /// An estimate of what one image needs while it is drawn: its keys and values, and the activations of its patches.
    private func bytes(rowsOfSequence rows: Int, guided: Bool) -> Int {
        let keysAndValues = 2 * rows * configuration.layers * configuration.keyValueHeads * configuration.headWidth
        let activations =
            configuration.unetElements + configuration.patchesPerImage
            * (8 * configuration.width + 4 * configuration.feedForward)
        return (keysAndValues + activations) * context.type.byteCount * (guided ? 2 : 1)
    }
}
