internal import CKernels

extension Context {
    /// Scales each head of the queries and keys to unit root mean square, then by its weight; values stay.
    ///
    /// `y[r, h, c] = x[r, h, c] / sqrt(mean_c(x[r, h, c]²) + epsilon) · weight[c]`, computed in f32.
    /// - Parameters:
    ///   - x: `[rows, q | k | v]` in the context's type.
    ///   - query: `[head width]`, f32, shared by the heads of queries.
    ///   - key: `[head width]`, f32, shared by the heads of keys.
    /// - Returns: A tensor like `x`.
    /// ### References
    /// Henry et al. 2020, "Query-key normalization"; with RMSNorm as in Qwen3.
    func headNorm(_ x: Tensor, _ heads: AttentionHeads, query: Parameter, key: Parameter, epsilon: Float) -> Tensor {
        let y = empty(x.shape)
        let parts = [
            NormedHeads(weight: query, first: 0, count: heads.query, inverseRMS: empty([x.rows, heads.query], .f32)),
            NormedHeads(
                weight: key, first: heads.queryColumns, count: heads.keyValue,
                inverseRMS: empty([x.rows, heads.keyValue], .f32)),
        ]
        let values = heads.queryColumns + heads.keyValueColumns
        parallel(x.rows, grain: Self.rowGrain(x.width)) { rows in
            for part in parts { normalize(x, part, heads.width, rows, epsilon, into: y) }
            for row in rows {
                let start = row * x.width + values
                copy(x, at: start, to: y, at: start, count: heads.keyValueColumns)
            }
        }
        return record(y) { [self] dy, gradients in
            // Attention's gradient, which nobody else reads.
            for part in parts { try backward(x, part, heads.width, dy) }
            gradients.add(dy, to: x)
        }
    }

    /// Heads side by side that have one weight.
    private struct NormedHeads {
        let weight: Parameter
        /// Their first column.
        let first: Int
        let count: Int
        let inverseRMS: Tensor  // [rows, count], f32
    }

    private func normalize(
        _ x: Tensor, _ heads: NormedHeads, _ width: Int, _ rows: Range<Int>, _ epsilon: Float, into y: Tensor
    ) {
        let start = rows.lowerBound * x.width + heads.first
        let inverses = heads.inverseRMS.floatPointer + rows.lowerBound * heads.count
        let weights = heads.weight.value.floatPointer
        switch x.type {
        case .f32:
            tf_head_norm_forward_f32(
                x.floatPointer + start, x.width, weights, epsilon, y.floatPointer + start, inverses, rows.count,
                heads.count, width)
        default:
            tf_head_norm_forward_bf16(
                x.halfPointer + start, x.width, weights, epsilon, y.halfPointer + start, inverses, rows.count,
                heads.count, width)
        }
    }

    /// Turns the gradient of the results into that of `x`, in place, and adds to the weight's.
    private func backward(_ x: Tensor, _ heads: NormedHeads, _ width: Int, _ dy: Tensor) throws {
        // Each part of the rows has its own sum for the weight; they are added in order.
        let parts = max(1, min(pool.threadCount, x.rows / Self.rowGrain(x.width)))
        let sums = empty([parts, width], .f32)
        sums.fill(0)
        tasks(parts) { part in
            let first = x.rows * part / parts, rows = x.rows * (part + 1) / parts - first
            let start = first * x.width + heads.first
            let inverses = heads.inverseRMS.floatPointer + first * heads.count
            let weights = heads.weight.value.floatPointer, dweight = sums.floatPointer + part * width
            switch x.type {
            case .f32:
                tf_head_norm_backward_f32(
                    dy.floatPointer + start, x.floatPointer + start, x.width, weights, inverses, dweight, rows,
                    heads.count, width)
            default:
                tf_head_norm_backward_bf16(
                    dy.halfPointer + start, x.halfPointer + start, x.width, weights, inverses, dweight, rows,
                    heads.count, width)
            }
        }
        guard let dweight = heads.weight.gradient else { return }
        // A rank of a tensor-parallel group has some of the heads.
        try addColumnSums(of: sums, to: dweight, overRanks: true, site: "gradient of a norm of heads")
        parameterIsReady?(heads.weight)
    }
}
