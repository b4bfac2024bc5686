internal import TransfusionConfig
public import TransfusionCore
public import TransfusionModels

/// A piece of a sequence: text, or an image as the model sees it.
public enum SequencePart: Sendable, Equatable {
    /// Token ids without BOS, EOS, BOI and EOI.
    case text([Int32])
    /// `[channels, height, width]`; pixels are in −1 … 1, of codes it is the numbers.
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

        /// Of an image that is tokens.
        var random: Philox { Philox(seed: seed, purpose: .sampling, index: index) }

        public init(_ seed: UInt64, index: Int = 0) {
            self.seed = seed
            self.index = index
        }

        func fill(_ values: UnsafeMutableBufferPointer<Float>, drawing: Int) {
            Philox(seed: seed, purpose: .sampling, step: drawing, index: index).fillNormal(values)
        }
    }

    /// What an image is drawn for.
    public struct Condition: Sendable {
        /// Token ids without BOS and BOI; none draws without a prompt.
        public var prompt: [Int32]
        /// What the prompt, an instruction, changes: `[channels, height, width]`; nil to draw from nothing.
        public var original: [Float]?

        public init(prompt: [Int32], original: [Float]? = nil) {
            self.prompt = prompt
            self.original = original
        }
    }

    /// Draws one image for each condition, as many at a time as fit into memory.
    ///
    /// - Parameters:
    ///   - conditions: All of them edits, or none.
    ///   - seeds: One for each condition.
    ///   - progress: Gets how many of the `conditions.count · settings.steps` steps are done.
    /// - Returns: For each condition `[channels, height, width]`.
    /// - Throws: `CommandFailure` when a condition does not fit into the context.
    public func images(
        for conditions: [Condition], seeds: [ImageSeed], _ settings: ImageSettings, progress: (Int) -> Void = { _ in }
    ) throws -> [[Float]] {
        precondition(conditions.count == seeds.count)
        let isEdit = conditions.first?.original != nil
        precondition(conditions.allSatisfy { ($0.original != nil) == isEdit }, "edits and other images in one call")
        for condition in conditions { try requireRoom(for: rows(of: condition, .all)) }
        let (branches, scales) = settings.branches(isEdit: isEdit)
        let longest = conditions.map { rows(of: $0, .all) }.max() ?? 0
        let together = max(1, memoryLimit / bytes(rowsOfSequence: longest, branches: branches.count))
        var images: [[Float]] = []
        for first in stride(from: 0, to: conditions.count, by: together) {
            let part = first..<min(first + together, conditions.count)
            let batch = SequenceBatch(
                model, capacities: branches.flatMap { branch in conditions[part].map { rows(of: $0, branch) } }, context
            )
            let sequences = branches.indices.map { Array($0 * part.count..<($0 + 1) * part.count) }
            try begin(zip(branches, sequences).map { ($0, $1) }, of: Array(conditions[part]), in: batch)
            let drawn = try draw(in: batch, at: sequences, scales: scales, seeds: Array(seeds[part]), settings) {
                step in
                progress(first * settings.steps + step * part.count)
            }
            let size = drawn.count / part.count
            images += part.indices.map { Array(drawn[($0 - first) * size..<($0 - first + 1) * size]) }
        }
        return images
    }

    /// Draws one image for each prompt, which is token ids without BOS and BOI.
    public func images(
        for prompts: [[Int32]], seeds: [ImageSeed], _ settings: ImageSettings, progress: (Int) -> Void = { _ in }
    ) throws -> [[Float]] {
        try images(for: prompts.map { Condition(prompt: $0) }, seeds: seeds, settings, progress: progress)
    }

    /// Rows of the sequence of a branch, the image that is drawn included, and what follows on it not.
    private func rows(of condition: Condition, _ branch: ImageSettings.Branch) -> Int {
        let image = configuration.patchesPerImage
        let original = branch == .nothing || condition.original == nil ? 0 : image + 2
        return 2 + image + original + (branch == .all ? condition.prompt.count : 0)
    }

    /// Brings everything before the image that is drawn into empty sequences, BOI included.
    ///
    /// - Parameter branches: Each with a sequence for each condition. That without anything drops the prompt; BOS and BOI
    ///   remain (decision D8).
    private func begin(
        _ branches: [(branch: ImageSettings.Branch, sequences: [Int])], of conditions: [Condition],
        in batch: SequenceBatch
    ) throws {
        let (beginOfText, beginOfImage) = (configuration.beginOfText, configuration.beginOfImage)
        let originals = conditions.compactMap(\.original)
        if !originals.isEmpty {
            let shown = branches.filter { $0.branch != .nothing }.flatMap(\.sequences)
            try batch.append(shown.map { ($0, [beginOfText, beginOfImage]) })
            try batch.append(images: originals.flatMap(\.self), to: shown)
        }
        try batch.append(
            branches.flatMap { branch, sequences in
                zip(sequences, conditions).map { sequence, condition in
                    let isShown = condition.original != nil && branch != .nothing
                    return (
                        sequence,
                        [isShown ? configuration.endOfImage : beginOfText]
                            + (branch == .all ? condition.prompt : []) + [beginOfImage]
                    )
                }
            })
    }

    /// What a continuation may consist of.
    public struct Continuation: Sendable {
        public var text = TextSettings()
        public var image = ImageSettings()
        /// How many images may be made; with 0, BOI is never chosen.
        public var maximumImages = 0
        /// Whether the continuation begins with an image, whatever the model thinks of it.
        public var beginsWithImage = false
        /// Whether EOS may come first.
        public var mayBeEmpty = true

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
                $0 < configuration.textVocabulary && $0 != configuration.beginOfText
                    && $0 != configuration.endOfImage
                    && (mayDraw || $0 != configuration.beginOfImage)
                    && (settings.mayBeEmpty || !writer.parts.isEmpty || $0 != configuration.endOfText)
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
            in: batch, at: isGuided ? [[0], [1]] : [[0]],
            scales: isGuided ? [Float(writer.settings.image.guidanceScale)] : [],
            seeds: [ImageSeed(writer.seed, index: writer.images)], writer.settings.image
        ) { progress(done + $0) }
        try batch.append(images: image, to: [0])
        writer.add(image: image)
        return try batch.append([(0, [configuration.endOfImage])])
    }

    /// Draws one image at the end of each sequence of the first branch; the images do not become part of the sequences.
    ///
    /// - Parameters:
    ///   - branches: The sequences of each branch of guidance, one for each image.
    ///   - scales: How far each branch but the last is moved away from the next.
    /// - Returns: `[images, channels, height, width]`.
    private func draw(
        in batch: SequenceBatch, at branches: [[Int]], scales: [Float], seeds: [ImageSeed],
        _ settings: ImageSettings, progress: (Int) -> Void
    ) throws -> [Float] {
        guard configuration.images != .tokens else {
            return try drawTokens(
                in: batch, at: branches, scales: scales, seeds: seeds, settings, progress: progress)
        }
        let size = configuration.patchesPerImage * configuration.patchWidth
        func fill(_ values: UnsafeMutableBufferPointer<Float>, drawing: Int) {
            for (image, seed) in seeds.enumerated() {
                seed.fill(
                    UnsafeMutableBufferPointer(rebasing: values[image * size..<(image + 1) * size]), drawing: drawing)
            }
        }
        var images = [Float](repeating: 0, count: seeds.count * size)
        images.withUnsafeMutableBufferPointer { fill($0, drawing: 0) }
        let sampler = settings.sampler
        for (step, timestep) in sampler.timesteps.enumerated() {
            let found = try batch.predictedNoise(in: images, timestep: timestep, at: branches.flatMap(\.self))
            let noise = Self.guided(found, by: scales)
            try requireFinite(noise)
            sampler.advance(&images, predictedNoise: noise, step: step) { fill($0, drawing: step + 1) }
            progress(step + 1)
        }
        return images
    }

    /// What the branches of guidance have found, each but the last moved away from the next one.
    /// - Parameter found: As many numbers of each branch, one branch after the other.
    static func guided(_ found: [Float], by scales: [Float]) -> [Float] {
        let count = found.count / (scales.count + 1)
        var result = Array(found[(scales.count * count)...])
        for (branch, scale) in scales.enumerated().reversed() {
            let start = branch * count
            for i in result.indices { result[i] += scale * (found[start + i] - found[start + count + i]) }
        }
        return result
    }

    /// Refuses to go on with what the model has computed when it is no number.
    func requireFinite(_ values: [Float]) throws {
        // A token has tens of thousands of logits: the largest exponent is found many at a time.
        let special = Float.infinity.bitPattern
        let highest = values.reduce(0) { max($0, $1.bitPattern & special) }
        guard highest == special, let value = values.first(where: { !$0.isFinite }) else { return }
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
    private func bytes(rowsOfSequence rows: Int, branches: Int) -> Int {
        let keysAndValues = 2 * rows * configuration.layers * configuration.keyValueHeads * configuration.headWidth
        let rowsAtOnce = configuration.images == .tokens ? 1 : configuration.patchesPerImage
        let activations =
            configuration.unetElements + rowsAtOnce * (8 * configuration.width + 4 * configuration.feedForward)
        return (keysAndValues + activations) * context.type.byteCount * branches
    }
}
