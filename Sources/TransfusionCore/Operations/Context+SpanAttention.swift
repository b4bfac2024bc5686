internal import CKernels

extension Context {
    /// Rotary embedding of the queries and keys in `[rows, q | k | v]`, in place.
    ///
    /// ### References
    /// Su et al. 2021, "RoFormer", equation 34, with the halves of a head as pairs (Hugging Face's Llama).
    package func rotaryEmbedding(
        _ queryKeyValue: Tensor, _ rows: AttentionRows, _ shape: AttentionHeads, _ rotary: RotaryTable
    ) -> Tensor {
        precondition(queryKeyValue.width == shape.columns && rotary.headWidth == shape.width)
        compute { rotary.extend(to: rows.positionCount) }
        // Query heads and key heads lie next to each other: one rotation turns both.
        let heads = shape.query + shape.keyValue
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
    /// - Returns: `[rows, q]`, with the columns of the queries.
    /// ### References
    /// Vaswani et al. 2017, equation 1; Dao et al. 2022 (softmax over tiles, recomputed in the backward pass).
    package func spanAttention(
        _ queryKeyValue: Tensor, _ rows: AttentionRows, _ heads: AttentionHeads, cache: KeyValueCache.Layer?
    ) -> Tensor {
        let width = heads.queryColumns, keyWidth = heads.keyValueColumns
        let columns = [0..<width, width..<width + keyWidth, width + keyWidth..<heads.columns]
        let query = MatrixView(queryKeyValue).slice(columns: columns[0])
        var key = MatrixView(queryKeyValue).slice(columns: columns[1])
        var value = MatrixView(queryKeyValue).slice(columns: columns[2])
        if let cache {
            parallel(rows.slots.count, grain: Self.rowGrain(2 * keyWidth)) { range in
                for row in range {
                    let slot = Int(rows.slots[row]) * keyWidth, start = row * heads.columns + width
                    copy(queryKeyValue, at: start, to: cache.keys, at: slot, count: keyWidth)
                    copy(queryKeyValue, at: start + keyWidth, to: cache.values, at: slot, count: keyWidth)
                }
            }
            key = MatrixView(cache.keys)
            value = MatrixView(cache.values)
        }
        let y = empty([queryKeyValue.rows, width])
        let shape = SpanAttentionShape(
            heads: heads.query, keyValueHeads: heads.keyValue, headWidth: heads.width,
            scale: 1 / Float(heads.width).squareRoot(), spans: rows.spans)
        let logSumExp = empty([heads.query, queryKeyValue.rows], .f32)
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
            let parts = columns.map { MatrixView(gradient).slice(columns: $0) }
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
