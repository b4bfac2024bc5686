internal import CKernels

extension Context {
    /// Rotary embedding of the queries and keys in `[rows, q | k | v]`, in place.
    ///
    /// ### References
    /// Su et al. 2021, "RoFormer", equation 34, with the halves of a head as pairs (Hugging Face's Llama).
    package func rotaryEmbedding(_ queryKeyValue: Tensor, _ rows: AttentionRows, _ rotary: RotaryTable) -> Tensor {
        compute { rotary.extend(to: rows.positionCount) }
        // Query heads and key heads lie next to each other: one rotation turns both.
        let heads = 2 * (queryKeyValue.width / 3 / rotary.headWidth)
        rotate(queryKeyValue, rows, rotary, heads: heads, direction: 1)
        return record(queryKeyValue.reshaped(queryKeyValue.shape)) { [self] dy, gradients in
            // Attention's gradient, which nobody else reads.
            rotate(dy, rows, rotary, heads: heads, direction: -1)
            gradients.add(dy, to: queryKeyValue)
        }
    }

    /// Attention in which each row sees an interval of rows.
    ///
    /// - Parameters:
    ///   - queryKeyValue: `[rows, q | k | v]` in the context's type, rotated.
    ///   - cache: Where this layer's keys and values are kept, or nil to attend to the rows themselves.
    /// - Returns: `[rows, width]`.
    /// ### References
    /// Vaswani et al. 2017, equation 1; Dao et al. 2022 (softmax over tiles, recomputed in the backward pass).
    package func spanAttention(
        _ queryKeyValue: Tensor, _ rows: AttentionRows, headWidth: Int, cache: KeyValueCache.Layer?
    ) -> Tensor {
        let width = queryKeyValue.width / 3, heads = width / headWidth
        let query = MatrixView(queryKeyValue).slice(columns: 0..<width)
        var key = MatrixView(queryKeyValue).slice(columns: width..<2 * width)
        var value = MatrixView(queryKeyValue).slice(columns: 2 * width..<3 * width)
        if let cache {
            parallel(rows.slots.count, grain: Self.rowGrain(2 * width)) { range in
                for row in range {
                    let slot = Int(rows.slots[row]) * width
                    copy(queryKeyValue, at: (3 * row + 1) * width, to: cache.keys, at: slot, count: width)
                    copy(queryKeyValue, at: (3 * row + 2) * width, to: cache.values, at: slot, count: width)
                }
            }
            key = MatrixView(cache.keys)
            value = MatrixView(cache.values)
        }
        let y = empty([queryKeyValue.rows, width])
        let shape = SpanAttentionShape(
            heads: heads, headWidth: headWidth, scale: 1 / Float(headWidth).squareRoot(), spans: rows.spans)
        let logSumExp = empty([heads, queryKeyValue.rows], .f32)
        compute {
            attentionKernel.forward(
                shape, query: query, key: key, value: value, into: MatrixView(y), logSumExp: logSumExp)
        }
        // Scores and weighted sums: two products for each pair of rows.
        let operations = 4 * Double(rows.spans.visiblePairs) * Double(width * tensorParallel.size)
        count(operations)
        return record(y) { [self] dy, gradients in
            precondition(cache == nil, "there is no backward pass through a cache")
            count(2 * operations)
            let gradient = empty(queryKeyValue.shape)
            let parts = (0..<3).map { MatrixView(gradient).slice(columns: $0 * width..<($0 + 1) * width) }
            compute {
                attentionKernel.backward(
                    shape, query: query, key: key, value: value, output: MatrixView(y), logSumExp: logSumExp,
                    outputGradient: MatrixView(dy), queryGradient: parts[0], keyGradient: parts[1],
                    valueGradient: parts[2])
            }
            // The views above do not keep the tensor alive.
            withExtendedLifetime(queryKeyValue) { gradients.add(gradient, to: queryKeyValue) }
        }
    }

    private func rotate(
        _ x: Tensor, _ rows: AttentionRows, _ rotary: RotaryTable, heads: Int, direction: Float
    ) {
        let stride = x.width, headWidth = rotary.headWidth
        rotary.cosine.withUnsafeBufferPointer { cosine in
            rotary.sine.withUnsafeBufferPointer { sine in
                parallel(x.rows, grain: Self.rowGrain(stride)) { range in
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
