internal import CKernels

extension Context {
    /// Rounds adjacent weights to signed bytes, with which `linear` computes from then on.
    package func quantize(_ weights: [Parameter]) {
        precondition(
            weights.allSatisfy { $0.gradient == nil && !$0.isPacked }, "\(weights[0].name) is trained or packed")
        let weight = Self.joined(weights.map(\.value)), width = weight.width
        let quantized = QuantizedWeights(
            bytes: empty([weight.rows, width], .u8), factors: empty([weight.rows], .f32))
        parallel(weight.rows, grain: Self.rowGrain(width)) { rows in
            let start = rows.lowerBound * width
            let bytes = quantized.pointer + start, factors = quantized.factors.floatPointer + rows.lowerBound
            switch weight.type {
            case .f32:
                tf_quantize_rows_f32(weight.floatPointer + start, width, bytes, factors, rows.count, width)
            default: tf_quantize_rows_bf16(weight.halfPointer + start, width, bytes, factors, rows.count, width)
            }
        }
        weights[0].quantized = quantized
    }

    /// Outputs of which the weights are written out at once where many rows meet them.
    private static let outputsAtOnce = 256

    /// `y = x · Wᵀ`, with sums in f32.
    func multiply(_ x: Tensor, _ weights: QuantizedWeights, into y: Tensor) {
        guard x.rows > Int(TF_FEW_ROWS) else { return multiplyFewRows(x, weights, into: y) }
        let width = x.width
        for first in stride(from: 0, to: weights.outputs, by: Self.outputsAtOnce) {
            let outputs = first..<min(first + Self.outputsAtOnce, weights.outputs)
            let part = empty([outputs.count, width])
            parallel(outputs.count, grain: Self.rowGrain(width)) { rows in
                let bytes = weights.pointer + (first + rows.lowerBound) * width
                let factors = weights.factors.floatPointer + first + rows.lowerBound
                let start = rows.lowerBound * width
                switch type {
                case .f32: tf_dequantize_rows_f32(bytes, factors, part.floatPointer + start, rows.count, width)
                default: tf_dequantize_rows_bf16(bytes, factors, part.halfPointer + start, rows.count, width)
                }
            }
            multiply(MatrixView(x), MatrixView(part).transposed, into: MatrixView(y).slice(columns: outputs))
        }
    }

    /// As in text decoding: bound by reading the weights.
    private func multiplyFewRows(_ x: Tensor, _ weights: QuantizedWeights, into y: Tensor) {
        let width = x.width, outputs = weights.outputs
        let sums = y.type == .f32 ? y : empty(y.shape, .f32)
        parallel(outputs, grain: Self.rowGrain(width)) { columns in
            let bytes = weights.pointer + columns.lowerBound * width
            let factors = weights.factors.floatPointer + columns.lowerBound
            let results = sums.floatPointer + columns.lowerBound
            switch x.type {
            case .f32:
                tf_few_rows_int8_f32(
                    x.floatPointer, width, x.rows, bytes, factors, columns.count, width, results, outputs)
            default:
                tf_few_rows_int8_bf16(
                    x.halfPointer, width, x.rows, bytes, factors, columns.count, width, results, outputs)
            }
        }
        if y.type != .f32 { copy(sums, at: 0, to: y, at: 0, count: sums.count) }
    }
}

extension QuantizedWeights {
    fileprivate var pointer: UnsafeMutablePointer<Int8> { bytes.bytes.baseAddress!.assumingMemoryBound(to: Int8.self) }
}
