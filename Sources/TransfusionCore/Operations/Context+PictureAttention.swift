internal import CKernels

extension Context {
    /// Attention in which each pixel sees all pixels of its picture.
    ///
    /// - Parameters:
    ///   - query: `[images, height, width, channels]` in the context's type, with an even number of channels a head.
    ///   - key: Like `query`.
    ///   - value: Like `query`.
    ///   - heads: Equal runs of the channels, which attend each for themselves.
    /// - Returns: softmax(query · keyᵀ / √(channels of a head)) · value in each head, of the same shape.
    /// ### References
    /// Vaswani et al. 2017, equation 1; the middle of the autoencoder of Esser et al. 2021.
    package func pictureAttention(query: Tensor, key: Tensor, value: Tensor, heads: Int = 1) -> Tensor {
        let pixels = query.shape[1] * query.shape[2], channels = query.width, headWidth = channels / heads
        let starts = (0..<query.rows).map { Int32($0 / pixels * pixels) }
        let spans = VisibleSpans(start: starts, end: starts.map { $0 + Int32(pixels) })
        let shape = SpanAttentionShape(
            heads: heads, headWidth: headWidth, scale: 1 / Float(headWidth).squareRoot(), spans: spans)
        let y = empty(query.shape)
        let logSumExp = empty([heads, query.rows], .f32)
        compute {
            attentionKernel.forward(
                shape, query: MatrixView(query), key: MatrixView(key), value: MatrixView(value), into: MatrixView(y),
                logSumExp: logSumExp)
        }
        let operations = 4 * Double(spans.visiblePairs) * Double(channels)
        count(operations)
        return record(y) { [self] dy, gradients in
            count(2 * operations)
            let (dquery, dkey, dvalue) = (empty(query.shape), empty(key.shape), empty(value.shape))
            compute {
                attentionKernel.backward(
                    shape, query: MatrixView(query), key: MatrixView(key), value: MatrixView(value),
                    output: MatrixView(y), logSumExp: logSumExp, outputGradient: MatrixView(dy),
                    queryGradient: MatrixView(dquery), keyGradient: MatrixView(dkey), valueGradient: MatrixView(dvalue))
            }
            gradients.add(dquery, to: query)
            gradients.add(dkey, to: key)
            gradients.add(dvalue, to: value)
        }
    }
}
