internal import CKernels

extension Context {
    /// Normalises each head of the queries and keys, and scales it by its weight; values stay.
    ///
    /// Without biases `y[r, h, c] = x[r, h, c] / sqrt(mean_c(x[r, h, c]²) + epsilon) · weight[c]`; with biases the mean is taken
    /// away first, and the bias added last. Computed in f32.
    /// - Parameters:
    ///   - x: `[rows, q | k | v]` in the context's type.
    ///   - query: Each `[head width]`, f32, shared by the heads of queries.
    ///   - key: The same for the heads of keys.
    /// - Returns: A tensor like `x`.
    /// ### References
    /// Henry et al. 2020, "Query-key normalization"; with RMSNorm as in Qwen3, with LayerNorm as in Chameleon (section 2.3).
    func headNorm(
        _ x: Tensor, _ heads: AttentionHeads, query: HeadNorm.Parameters, key: HeadNorm.Parameters, epsilon: Float
    ) -> Tensor {
        let y = empty(x.shape)
        let parts = [
            NormedHeads(query, first: 0, count: heads.query, rows: x.rows, self),
            NormedHeads(key, first: heads.queryColumns, count: heads.keyValue, rows: x.rows, self),
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
        let parameters: HeadNorm.Parameters
        /// Their first column.
        let first: Int
        let count: Int
        let means: Tensor  // [rows, count], f32
        let inverses: Tensor  // [rows, count], f32

        init(_ parameters: HeadNorm.Parameters, first: Int, count: Int, rows: Int, _ context: Context) {
            self.parameters = parameters
            self.first = first
            self.count = count
            means = context.empty([rows, count], .f32)
            inverses = context.empty([rows, count], .f32)
        }
    }

    private func normalize(
        _ x: Tensor, _ heads: NormedHeads, _ width: Int, _ rows: Range<Int>, _ epsilon: Float, into y: Tensor
    ) {
        let start = rows.lowerBound * x.width + heads.first
        let means = heads.means.floatPointer + rows.lowerBound * heads.count
        let inverses = heads.inverses.floatPointer + rows.lowerBound * heads.count
        let weight = heads.parameters.weight.value.floatPointer, bias = heads.parameters.bias?.value.floatPointer
        switch x.type {
        case .f32:
            tf_head_norm_forward_f32(
                x.floatPointer + start, x.width, weight, bias, epsilon, y.floatPointer + start, means, inverses,
                rows.count, heads.count, width)
        default:
            tf_head_norm_forward_bf16(
                x.halfPointer + start, x.width, weight, bias, epsilon, y.halfPointer + start, means, inverses,
                rows.count, heads.count, width)
        }
    }

    /// Turns the gradient of the results into that of `x`, in place, and adds to those of weight and bias.
    private func backward(_ x: Tensor, _ heads: NormedHeads, _ width: Int, _ dy: Tensor) throws {
        // Each part of the rows has its own sums; they are added in order.
        let parts = max(1, min(pool.threadCount, x.rows / Self.rowGrain(x.width)))
        let weightSums = empty([parts, width], .f32),
            biasSums = heads.parameters.bias.map { _ in empty([parts, width], .f32) }
        weightSums.fill(0)
        biasSums?.fill(0)
        let weight = heads.parameters.weight.value.floatPointer
        tasks(parts) { part in
            let first = x.rows * part / parts, rows = x.rows * (part + 1) / parts - first
            let start = first * x.width + heads.first
            let means = heads.means.floatPointer + first * heads.count
            let inverses = heads.inverses.floatPointer + first * heads.count
            let dweight = weightSums.floatPointer + part * width
            let dbias = biasSums.map { $0.floatPointer + part * width }
            switch x.type {
            case .f32:
                tf_head_norm_backward_f32(
                    dy.floatPointer + start, x.floatPointer + start, x.width, weight, means, inverses, dweight, dbias,
                    rows, heads.count, width)
            default:
                tf_head_norm_backward_bf16(
                    dy.halfPointer + start, x.halfPointer + start, x.width, weight, means, inverses, dweight, dbias,
                    rows, heads.count, width)
            }
        }
        // A rank of a tensor-parallel group has some of the heads.
        let pairs: [(Parameter?, Tensor?)] = [(heads.parameters.weight, weightSums), (heads.parameters.bias, biasSums)]
        for (parameter, sums) in pairs {
            guard let parameter, let sums, let gradient = parameter.gradient else { continue }
            try addColumnSums(of: sums, to: gradient, overRanks: true, site: "gradient of a norm of heads")
            parameterIsReady?(parameter)
        }
    }
}
