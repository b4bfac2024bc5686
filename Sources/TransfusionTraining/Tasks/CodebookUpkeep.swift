internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels
internal import TransfusionParallel

/// What happens to a codebook beside its gradient: its use is counted, codes become averages of the features that they stand
/// for, and codes that nobody uses become features.
///
/// All of it is the same for any number of ranks: counts are whole numbers, sums over features have the order of the gradients'
/// sums, and which feature replaces a code depends on (seed, step) and its place in the global batch.
/// ### References
/// Van den Oord, Vinyals and Kavukcuoglu 2017, "Neural discrete representation learning", appendix A.1; Dhariwal et al. 2020,
/// "Jukebox", section 3.1, for codes that are replaced.
final class CodebookUpkeep {
    /// The averages, as a checkpoint keeps them.
    let player: Player
    /// The codebook.
    private let codes: Parameter
    /// `[codes]`: how often each is used on average, 1 if all are used alike.
    private let use: Parameter
    /// `[codes, width]`: the average sums of the features, in the same unit; nil when the gradient moves the codes.
    private let sums: Parameter?
    private let settings: RunConfiguration.Autoencoder
    private let seed: UInt64

    // Of the step under way.
    private var counts: [Double]
    private var batches: [(pictures: Range<Int>, features: [Float])] = []
    /// `[codes, width]`: the sums of this rank's features, with what adds them up in the order of the gradients.
    private let batchSums: Tensor?
    private let slotSums: SlotSums?

    /// What is added to the average uses, so that no code is divided by zero: that of Sonnet's `VectorQuantizerEMA`.
    private static let smoothing = 1e-5
    private static let revived = "codes_revived"
    private static let useName = Autoencoder.codebookStatePrefix + "use"
    static let sumsName = Autoencoder.codebookStatePrefix + "sums"

    init(_ codebook: Parameter, _ configuration: RunConfiguration, _ context: Context) {
        codes = codebook
        settings = configuration.autoencoder
        seed = UInt64(configuration.seed)
        let shape = codebook.globalShape
        let isAveraged = settings.codebook == .ema
        let builder = ParameterBuilder(rules: ParameterRules(frozen: ["*"]))
        use = builder.parameter(Self.useName, [shape[0]], .ones)
        sums = isAveraged ? builder.parameter(Self.sumsName, shape, .zeros) : nil
        let store = ParameterStore(builder, type: .f32, allocator: context.allocator, gradients: nil)
        // Runs from before there were averages go on; a codebook of averages needs them.
        player = Player(kept: store, named: "codebook", mayBeMissing: !isAveraged)
        counts = [Double](repeating: 0, count: shape[0])
        batchSums = isAveraged ? Tensor(shape, .f32, allocator: context.allocator) : nil
        batchSums?.fill(0)
        let isOrdered = configuration.parallel.reduction == .elastic
        slotSums =
            isOrdered ? batchSums.map { SlotSums($0, pool: context.pool, allocator: context.allocator) } : nil
    }

    /// How the codes are moved, in words.
    var description: String {
        let decay = " with a decay of \(settings.codebookDecay)"
        let update = settings.codebook == .ema ? "running averages of features" + decay : "moved by their gradient"
        guard let share = settings.revivesCodesBelow else { return "codes: \(update)" }
        return "codes: \(update), replaced when their average use\(settings.codebook == .ema ? "" : decay) is below "
            + "\(share) of an equal share"
    }

    /// Begins with codes that were just drawn or read, as if all had been used alike.
    func begin() {
        player.parameters.initialize(seed: 0)
        // In bf16 the upper halves alone are the same on all ranks.
        if let sums { codes.value.floats().withUnsafeBufferPointer { sums.writeMaster($0, at: 0) } }
    }

    /// Takes note of a micro-batch that is trained on.
    /// - Parameters:
    ///   - found: The number of each feature's code.
    ///   - compared: The features.
    func take(_ found: Tensor, of compared: Tensor, _ address: BatchAddress) {
        for code in found.i32 { counts[Int(code)] += 1 }
        guard sums != nil || settings.revivesCodesBelow != nil else { return }
        let features = compared.floats(), width = compared.width
        if let sum = batchSums?.f32 {
            if !batches.isEmpty { slotSums?.finish(slot: batches.count - 1) }
            for (row, code) in found.i32.enumerated() {
                for column in 0..<width { sum[Int(code) * width + column] += features[row * width + column] }
            }
        }
        batches.append((address.sequences, features))
    }

    /// Updates averages and codes after a step. All data-parallel ranks call it.
    /// - Parameter optimizer: That of the codebook.
    /// - Returns: How the step used the codes, and how many were replaced.
    func conclude(step: Int, optimizer: AdamW, group: any Collectives) throws -> [NamedSum] {
        let batch = CodeUse(counts: try group.sum(counts, site: "use of the codes"))
        counts = [Double](repeating: 0, count: counts.count)
        defer { batches = [] }
        // In units of an equal share, so that thresholds do not depend on the batch and the number of codes.
        let unit = Double(counts.count) / batch.total
        let uses = use.value.f32
        for code in uses.indices { average(&uses[code], batch.counts[code] * unit) }
        if let sums { try averageCodes(sums, unit: unit, optimizer, group) }
        guard let least = settings.revivesCodesBelow else { return batch.measures }
        let dead = Array(uses.indices.filter { Double(uses[$0]) < least }.prefix(Int(batch.total)))
        try revive(dead, of: Int(batch.total), step: step, optimizer, group)
        return batch.measures + [NamedSum(name: Self.revived, sum: Double(dead.count), count: 1, weight: 0)]
    }

    private func average(_ value: inout Float, _ new: Double) {
        value = Float(settings.codebookDecay * Double(value) + (1 - settings.codebookDecay) * new)
    }

    /// code = sum / use, with uses that are smoothed so that they have the same sum.
    private func averageCodes(
        _ sums: Parameter, unit: Double, _ optimizer: AdamW, _ group: any Collectives
    ) throws {
        guard let batch = batchSums else { return }
        slotSums?.finish(last: 0..<batch.count, of: batches.count)
        try group.allReduceSum(batch.f32, site: "features of the codes")
        let averages = sums.value.f32, uses = use.value.f32, width = codes.globalShape[1]
        let total = uses.reduce(0.0) { $0 + Double($1) }
        var values = [Float](repeating: 0, count: averages.count)
        for code in uses.indices {
            let smoothed =
                (Double(uses[code]) + Self.smoothing) / (total + Double(uses.count) * Self.smoothing) * total
            for index in code * width..<(code + 1) * width {
                average(&averages[index], Double(batch.f32[index]) * unit)
                values[index] = Float(Double(averages[index]) / smoothed)
            }
        }
        optimizer.overwrite(codes, at: 0, with: values)
        batch.fill(0)
    }

    /// Replaces codes by features of the global batch, each by another one.
    private func revive(
        _ dead: [Int], of features: Int, step: Int, _ optimizer: AdamW, _ group: any Collectives
    ) throws {
        guard !dead.isEmpty, let first = batches.first else { return }
        let width = codes.globalShape[1], rows = first.features.count / width / first.pictures.count
        let order = Permutation(count: features, seed: seed, purpose: .codebook, epoch: step)
        var values = [Float](repeating: 0, count: dead.count * width)
        for place in dead.indices {
            let row = order(place)
            guard let batch = batches.first(where: { $0.pictures.contains(row / rows) }) else { continue }
            let start = (row - batch.pictures.lowerBound * rows) * width
            // Sums over ranks have no zeros with a sign.
            for column in 0..<width { values[place * width + column] = batch.features[start + column] + 0 }
        }
        try values.withUnsafeMutableBufferPointer { try group.allReduceSum($0, site: "revived codes") }
        for (place, code) in dead.enumerated() {
            let feature = Array(values[place * width..<(place + 1) * width])
            optimizer.overwrite(codes, at: code * width, with: feature)
            use.value.f32[code] = 1
            if let sums { feature.withUnsafeBufferPointer { sums.writeMaster($0, at: code * width) } }
        }
    }
}
