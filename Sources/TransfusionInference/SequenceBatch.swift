internal import TransfusionCore
internal import TransfusionModels

/// Sequences that grow together: rows that are finished stay in the cache, and new rows are computed against them.
///
/// Each sequence has a region of the cache of its own, so sequences of any length, and both branches of guidance, pass
/// through the model as one batch.
final class SequenceBatch {
    private struct Sequence {
        /// The cache's slots of this sequence.
        let slots: Range<Int>
        /// How many rows are finished.
        var count = 0
        /// The position of the next row.
        var position: Int32 = 0
    }

    /// The last norm's result for the rows of one pass.
    struct Rows {
        let hidden: TransfusionModel.HiddenStates
        /// The first row of each sequence that took part.
        let starts: [Int32]
        /// The last row of each sequence that took part.
        let ends: [Int32]
    }

    private let model: TransfusionModel
    private let context: Context
    private let cache: KeyValueCache
    private var sequences: [Sequence] = []

    /// - Parameter capacities: How many rows each sequence may get.
    init(_ model: TransfusionModel, capacities: [Int], _ context: Context) {
        self.model = model
        self.context = context
        cache = KeyValueCache(model.configuration, capacity: capacities.reduce(0, +), context)
        var start = 0
        for capacity in capacities {
            sequences.append(Sequence(slots: start..<start + capacity))
            start += capacity
        }
    }

    /// How many rows of a sequence are finished.
    func count(of sequence: Int) -> Int { sequences[sequence].count }

    /// How many more rows a sequence may get.
    func room(of sequence: Int) -> Int { sequences[sequence].slots.count - sequences[sequence].count }

    /// Adds tokens to the end of sequences.
    ///
    /// - Parameter runs: At least one token for each sequence; a sequence may be named once.
    @discardableResult
    func append(_ runs: [(sequence: Int, tokens: [Int32])]) throws -> Rows {
        var rows = RowsToCompute()
        for run in runs {
            rows.begin()
            for token in run.tokens { rows.add(token: token, to: &sequences[run.sequence]) }
        }
        return try compute(rows, images: nil)
    }

    /// Adds finished images to the end of sequences.
    ///
    /// - Parameter images: `[images, channels, height, width]`, an image for each sequence, or all of them several times.
    func append(images: [Float], to numbers: [Int]) throws {
        let configuration = model.configuration
        guard configuration.images != .tokens else {
            let tokens = configuration.imageTokens(images), size = configuration.patchesPerImage
            let count = tokens.count / size
            try append(
                numbers.enumerated().map { place, number in
                    (number, Array(tokens[place % count * size..<(place % count + 1) * size]))
                })
            return
        }
        // A finished image enters the context clean, at timestep 0 (decision D10).
        try pass(images, timestep: 0, at: numbers, finishes: true)
    }

    /// Forgets the last rows of a sequence, which are tokens.
    func removeLast(_ rows: Int, of number: Int) {
        sequences[number].count -= rows
        sequences[number].position -= Int32(rows)
    }

    /// What noise the model finds in images at the end of sequences. The images do not become part of the sequences.
    ///
    /// - Parameters:
    ///   - images: x_t, `[images, channels, height, width]`.
    ///   - numbers: A sequence for each image, or several times that: each image then is at the end of several sequences.
    /// - Returns: ε, `[sequences, channels, height, width]`.
    func predictedNoise(in images: [Float], timestep: Int, at numbers: [Int]) throws -> [Float] {
        let rows = try pass(images, timestep: timestep, at: numbers, finishes: false)
        return try model.predictedNoise(rows.hidden, imageStarts: rows.starts, context)
    }

    /// The logits of the last row of each sequence: `[sequences][vocabulary]`.
    func lastLogits(_ rows: Rows) throws -> [[Float]] {
        let logits = try model.logits(rows.hidden, rows: rows.ends, context).floats()
        let vocabulary = model.configuration.vocabulary
        return rows.ends.indices.map { Array(logits[$0 * vocabulary..<($0 + 1) * vocabulary]) }
    }

    @discardableResult
    private func pass(_ images: [Float], timestep: Int, at numbers: [Int], finishes: Bool) throws -> Rows {
        var rows = RowsToCompute()
        for number in numbers {
            rows.begin()
            var sequence = sequences[number]
            rows.addImage(model.configuration, to: &sequence)
            if finishes { sequences[number] = sequence }
        }
        let count = images.count / (model.configuration.patchesPerImage * model.configuration.patchWidth)
        return try compute(
            rows,
            images: NoisedImages(
                noised: images, timesteps: [Int32](repeating: Int32(timestep), count: count),
                configuration: model.configuration, context))
    }

    private func compute(_ rows: RowsToCompute, images: NoisedImages?) throws -> Rows {
        let attention = AttentionRows(
            positions: rows.positions, visibleStart: rows.visibleStart, visibleEnd: rows.visibleEnd, cache: cache,
            slots: rows.slots, context)
        // Images that are at the end of several sequences are computed once as far as they can be.
        let imageStarts = Array(rows.starts.prefix(images?.count ?? 0))
        let count = images.map { $0.count * model.configuration.patchesPerImage } ?? rows.tokens.count
        let hidden = try model.hiddenStates(
            tokens: Array(rows.tokens.prefix(count)), images: images, imageStarts: imageStarts, rows: attention,
            context)
        let ends = rows.starts.dropFirst() + [Int32(rows.tokens.count)]
        return Rows(hidden: hidden, starts: rows.starts, ends: ends.map { $0 - 1 })
    }

    /// The rows of one pass through the model, collected sequence by sequence.
    private struct RowsToCompute {
        var tokens: [Int32] = []
        var positions: [Int32] = []
        var visibleStart: [Int32] = []
        var visibleEnd: [Int32] = []
        var slots: [Int32] = []
        var starts: [Int32] = []

        mutating func begin() { starts.append(Int32(tokens.count)) }

        mutating func add(token: Int32, to sequence: inout Sequence) {
            add(token, seesUntil: sequence.slots.lowerBound + sequence.count + 1, to: &sequence)
            sequence.position += 1
        }

        mutating func addImage(_ configuration: ModelConfiguration, to sequence: inout Sequence) {
            let patches = configuration.patchesPerImage
            let start = sequence.slots.lowerBound + sequence.count, options = configuration.rowOptions
            for patch in 0..<patches {
                add(-1, seesUntil: start + (options.causalImages ? patch + 1 : patches), to: &sequence)
                let staysInPlace = options.sharedImagePosition && patch + 1 < patches
                if !staysInPlace { sequence.position += 1 }
            }
        }

        private mutating func add(_ token: Int32, seesUntil end: Int, to sequence: inout Sequence) {
            precondition(sequence.count < sequence.slots.count, "the sequence is full")
            tokens.append(token)
            positions.append(sequence.position)
            visibleStart.append(Int32(sequence.slots.lowerBound))
            visibleEnd.append(Int32(end))
            slots.append(Int32(sequence.slots.lowerBound + sequence.count))
            sequence.count += 1
        }
    }
}
