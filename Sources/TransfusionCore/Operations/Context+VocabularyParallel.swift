internal import CKernels

// A table over the vocabulary (embedding, head) of which each tensor-parallel rank holds a run of rows.
extension Context {
    /// The tokens as rows of this rank's part of `table`; -1 for those of other ranks, and for -1.
    func localTokens(_ tokens: [Int32], in table: Parameter) -> [Int32] {
        guard table.shard != .replicated else { return tokens }
        let first = Int32(table.shard.box(in: table.globalShape).offsets[0])
        let rows = first..<first + Int32(table.shape[0])
        return tokens.map { rows.contains($0) ? $0 - first : -1 }
    }

    /// The cross entropy of rows of which each rank has the logits of its part of the vocabulary. The logits themselves
    /// stay where they are: only a maximum and two sums for each row travel.
    ///
    /// - Parameters:
    ///   - logits: `[rows, this rank's part]`, f32; overwritten.
    ///   - targets: For each row the column in this part, or -1.
    ///   - zWeight: Of the squared logarithm of the normaliser, beside the loss.
    ///   - losses: Gets the loss of each row, unscaled, the same on all ranks.
    ///   - logSums: Gets the logarithm of each row's normaliser.
    ///   - dlogits: Gets `scale · ∂(loss + zWeight · logSum²)/∂logits`; may be `logits`.
    /// ### References
    /// Shoeybi et al. 2019, "Megatron-LM", section 3.
    func vocabularyParallelCrossEntropy(
        _ logits: Tensor, targets: UnsafePointer<Int32>, scale: Float, zWeight: Float,
        losses: UnsafeMutablePointer<Float>, logSums: UnsafeMutablePointer<Float>, dlogits: Tensor?
    ) throws {
        let rows = logits.rows
        let width = logits.width
        let maxima = empty([rows], .f32)
        parallel(rows) { range in
            tf_row_maxima(
                logits.floatPointer + range.lowerBound * width, maxima.floatPointer + range.lowerBound, range.count,
                width)
        }
        try tensorParallel.allReduceMax(maxima.f32, site: "largest logits")
        // Sums of the exponentials, then the logits of the targets: one message.
        let sums = empty([2, rows], .f32)
        parallel(rows) { range in
            let first = range.lowerBound
            tf_row_exponentials(
                logits.floatPointer + first * width, targets + first, maxima.floatPointer + first,
                sums.floatPointer + first, sums.floatPointer + rows + first, range.count, width)
        }
        try tensorParallel.allReduceSum(sums.f32, site: "sums of exponentials")
        compute {
            tf_cross_entropy_of_sums(
                sums.floatPointer, sums.floatPointer + rows, maxima.floatPointer, losses, logSums, rows)
        }
        guard let dlogits else { return }
        parallel(rows) { range in
            let start = range.lowerBound * width
            let targets = targets + range.lowerBound
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
