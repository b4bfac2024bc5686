internal import CKernels

// A table over the vocabulary (embedding, head) of which each tensor-parallel rank holds a run of rows.
extension Context {
    /// The tokens as rows of this rank's part of `table`; -1 for those of other ranks, and for -1.
    func localTokens(_ tokens: [Int32], in table: Parameter) -> [Int32] {
        guard table.shard != .replicated else { return tokens }
        let first = table.shard.box(in: table.globalShape).offsets[0]
        return Self.tokens(tokens, among: first..<first + table.shape[0])
    }

    /// The tokens as places in a run of the vocabulary; -1 for those that are not in it.
    static func tokens(_ tokens: [Int32], among run: Range<Int>) -> [Int32] {
        tokens.map { run.contains(Int($0)) ? $0 - Int32(run.lowerBound) : -1 }
    }

    /// The cross entropy of rows of which each rank has the logits of its part of the vocabulary, or of a few parts. The
    /// logits themselves stay where they are: only a maximum and two sums for each row travel.
    ///
    /// - Parameters:
    ///   - parts: Of each part `[rows, its width]`, f32, overwritten; and for each row the column in this part, or -1.
    ///   - zWeight: Of the squared logarithm of the normaliser, beside the loss.
    ///   - losses: Gets the loss of each row, unscaled, the same on all ranks.
    ///   - logSums: Gets the logarithm of each row's normaliser.
    ///   - dlogits: Gets `scale · ∂(loss + zWeight · logSum²)/∂logits` of the only part; may be its logits.
    /// ### References
    /// Shoeybi et al. 2019, "Megatron-LM", section 3.
    func vocabularyParallelCrossEntropy(
        _ parts: [(logits: Tensor, targets: Tensor)], scale: Float, zWeight: Float,
        losses: UnsafeMutablePointer<Float>, logSums: UnsafeMutablePointer<Float>, dlogits: Tensor?
    ) throws {
        let rows = parts[0].logits.rows
        let maxima = empty([rows], .f32)
        for (index, part) in parts.enumerated() {
            let ofPart = index == 0 ? maxima : empty([rows], .f32)
            parallel(rows) { range in
                tf_row_maxima(
                    part.logits.floatPointer + range.lowerBound * part.logits.width,
                    ofPart.floatPointer + range.lowerBound, range.count, part.logits.width)
            }
            guard index > 0 else { continue }
            compute { for row in 0..<rows { maxima.f32[row] = max(maxima.f32[row], ofPart.f32[row]) } }
        }
        try tensorParallel.allReduceMax(maxima.f32, site: "largest logits")
        // Sums of the exponentials, then the logits of the targets: one message.
        let sums = empty([2, rows], .f32)
        for (index, part) in parts.enumerated() {
            let ofPart = index == 0 ? sums : empty([2, rows], .f32)
            parallel(rows) { range in
                let first = range.lowerBound
                tf_row_exponentials(
                    part.logits.floatPointer + first * part.logits.width, part.targets.integerPointer + first,
                    maxima.floatPointer + first, ofPart.floatPointer + first, ofPart.floatPointer + rows + first,
                    range.count, part.logits.width)
            }
            if index > 0 { accumulate(ofPart, into: sums) }
        }
        try tensorParallel.allReduceSum(sums.f32, site: "sums of exponentials")
        compute {
            tf_cross_entropy_of_sums(
                sums.floatPointer, sums.floatPointer + rows, maxima.floatPointer, losses, logSums, rows)
        }
        guard let dlogits else { return }
        let (logits, targets) = parts[0], width = logits.width
        parallel(rows) { range in
            let start = range.lowerBound * width
            let targets = targets.integerPointer + range.lowerBound
            let sums = sums.floatPointer + range.lowerBound, logSums = logSums + range.lowerBound
            switch dlogits.type {
            case .f32:
                tf_softmax_gradient_f32(
                    logits.floatPointer + start, targets, sums, logSums, scale, zWeight, dlogits.floatPointer + start,
                    range.count, width)
            default:
                tf_softmax_gradient_bf16(
                    logits.floatPointer + start, targets, sums, logSums, scale, zWeight, dlogits.halfPointer + start,
                    range.count, width)
            }
        }
    }

    /// The losses of rows as two ranks make them, each of half of the vocabulary.
    func crossEntropyInHalves(
        _ x: Tensor, _ weight: Parameter, targets: [Int32], losses: UnsafeMutablePointer<Float>,
        logSums: UnsafeMutablePointer<Float>
    ) throws {
        let vocabulary = weight.value.rows
        let halves = [0..<vocabulary / 2, vocabulary / 2..<vocabulary].map { run in
            let logits = empty([x.rows, run.count], .f32)
            multiply(
                MatrixView(x), MatrixView(weight.value).transposed.slice(rows: 0..<x.width, columns: run),
                into: MatrixView(logits))
            return (logits: logits, targets: integers(Self.tokens(targets, among: run)))
        }
        try vocabularyParallelCrossEntropy(
            halves, scale: 1, zWeight: 0, losses: losses, logSums: logSums, dlogits: nil)
    }

    /// The logits of the whole vocabulary, of which `part` has this rank's columns. Only for sampling and comparison:
    /// it is not recorded.
    package func wholeLogits(_ part: Tensor, _ head: Parameter) throws -> Tensor {
        guard head.shard != .replicated else { return part }
        let group = tensorParallel
        let vocabulary = head.globalShape[0]
        let starts = (0...group.size).map { vocabulary * $0 / group.size }
        // Rank after rank as they travel, then row after row.
        let parts = empty([part.rows * vocabulary], .f32)
        copy(part, at: 0, to: parts, at: part.rows * starts[group.rank], count: part.count)
        try group.allGather(parts.bytes, offsets: starts.map { part.rows * $0 * 4 }, site: "logits")
        let whole = empty([part.rows, vocabulary], .f32)
        for row in 0..<part.rows {
            for rank in 0..<group.size {
                let width = starts[rank + 1] - starts[rank]
                copy(
                    parts, at: part.rows * starts[rank] + row * width, to: whole, at: row * vocabulary + starts[rank],
                    count: width)
            }
        }
        return whole
    }
}
