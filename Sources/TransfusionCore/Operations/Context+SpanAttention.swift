internal import CKernels

extension Context {
    /// Attention in which each row sees an interval of rows, with rotary embedding of queries and keys.
    ///
    /// - Parameters:
    ///   - queryKeyValue: `[rows, q | k | v]` in the context's type. The rotation is done in place.
    ///   - cache: Where this layer's keys and values are kept, or nil to attend to the rows themselves.
    /// - Returns: `[rows, width]`.
    /// ### References
    /// Vaswani et al. 2017, equation 1; Dao et al. 2022 (softmax over tiles, recomputed in the backward pass).
    func spanAttention(
        _ queryKeyValue: Tensor, _ rows: AttentionRows, headWidth: Int, rotary: RotaryTable,
        cache: KeyValueCache.Layer?
    ) -> Tensor {
        let width = queryKeyValue.width / 3, heads = width / headWidth
        rotary.extend(to: rows.positionCount)
        // Query heads and key heads lie next to each other: one rotation turns both.
        rotate(queryKeyValue, rows, heads: 2 * heads, headWidth: headWidth, rotary, direction: 1)
        let query = MatrixView(queryKeyValue).slice(columns: 0..<width)
        var key = MatrixView(queryKeyValue).slice(columns: width..<2 * width)
        var value = MatrixView(queryKeyValue).slice(columns: 2 * width..<3 * width)
        if let cache {
            for (row, slot) in rows.slots.enumerated() {
                copy(queryKeyValue, at: (3 * row + 1) * width, to: cache.keys, at: Int(slot) * width, count: width)
                copy(queryKeyValue, at: (3 * row + 2) * width, to: cache.values, at: Int(slot) * width, count: width)
            }
            key = MatrixView(cache.keys)
            value = MatrixView(cache.values)
        }
        let y = empty([queryKeyValue.rows, width])
        let shape = SpanAttentionShape(
            heads: heads, headWidth: headWidth, scale: 1 / Float(headWidth).squareRoot(), spans: rows.spans)
        let logSumExp = attentionKernel.forward(shape, query: query, key: key, value: value, into: MatrixView(y))
        return record(y) { [self] dy, gradients in
            precondition(cache == nil, "there is no backward pass through a cache")
            let gradient = empty(queryKeyValue.shape)
            let parts = (0..<3).map { MatrixView(gradient).slice(columns: $0 * width..<($0 + 1) * width) }
            attentionKernel.backward(
                shape, query: query, key: key, value: value, output: MatrixView(y), logSumExp: logSumExp,
                outputGradient: MatrixView(dy), queryGradient: parts[0], keyGradient: parts[1],
                valueGradient: parts[2])
            rotate(gradient, rows, heads: 2 * heads, headWidth: headWidth, rotary, direction: -1)
            // The views above do not keep the tensor alive.
            withExtendedLifetime(queryKeyValue) { gradients.add(gradient, to: queryKeyValue) }
        }
    }

    private func rotate(
        _ x: Tensor, _ rows: AttentionRows, heads: Int, headWidth: Int, _ rotary: RotaryTable, direction: Float
    ) {
        let stride = x.width
        rotary.cosine.withUnsafeBufferPointer { cosine in
            rotary.sine.withUnsafeBufferPointer { sine in
                pool.parallel(x.rows, grain: Self.rowGrain(stride)) { range in
                    let positions = rows.positions.integerPointer + range.lowerBound
                    let start = range.lowerBound * stride
                    switch x.type {
                    case .f32:
                        tf_rotary_f32(
                            x.floatPointer + start, stride, positions, cosine.baseAddress!, sine.baseAddress!,
                            range.count, heads, headWidth, direction)
                    default:
                        tf_rotary_bf16(
                            x.halfPointer + start, stride, positions, cosine.baseAddress!, sine.baseAddress!,
                            range.count, heads, headWidth, direction)
                    }
                }
            }
        }
    }
}
