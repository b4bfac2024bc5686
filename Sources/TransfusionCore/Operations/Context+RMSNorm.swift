internal import CKernels

extension Context {
    /// Scales each row of the residual stream to unit root mean square, then by `weight`.
    ///
    /// `y[r, c] = x[r, c] / sqrt(mean_c(x[r, c]²) + epsilon) · weight[c]`, computed in f32.
    /// - Parameters:
    ///   - x: `[rows, width]`, f32.
    ///   - weight: `[width]`, f32.
    /// - Returns: `[rows, width]` in the context's type.
    /// ### References
    /// Zhang and Sennrich 2019, equation 4; Llama's form (no mean subtraction, no bias).
    func rmsNorm(_ x: Tensor, weight: Parameter, epsilon: Float) -> Tensor {
        let width = x.width
        let y = empty(x.shape)
        let inverseRMS = empty([x.rows], .f32)
        parallel(x.rows, grain: Self.rowGrain(width)) { rows in
            let start = rows.lowerBound * width
            let xs = x.floatPointer + start, weights = weight.value.floatPointer
            let inverses = inverseRMS.floatPointer + rows.lowerBound
            switch y.type {
            case .f32:
                tf_rms_norm_forward_f32(xs, weights, epsilon, y.floatPointer + start, inverses, rows.count, width)
            default: tf_rms_norm_forward_bf16(xs, weights, epsilon, y.halfPointer + start, inverses, rows.count, width)
            }
        }
        let rowsAreShared = rowOffsets != nil
        return record(y) { [self] dy, gradients in
            // Each part of the rows has its own sum for the weight; they are added in order, so the bits do not depend
            // on which thread is faster.
            let parts = max(1, min(pool.threadCount, x.rows / Self.rowGrain(width)))
            let partialSums = empty([parts, width], .f32)
            partialSums.fill(0)
            gradients.update(x, .f32) { dx, holdsSum in
                tasks(parts) { part in
                    let first = x.rows * part / parts
                    let count = x.rows * (part + 1) / parts - first
                    let start = first * width
                    let xs = x.floatPointer + start, dxs = dx.floatPointer + start
                    let inverses = inverseRMS.floatPointer + first, weights = weight.value.floatPointer
                    let sums = partialSums.floatPointer + part * width
                    switch dy.type {
                    case .f32:
                        tf_rms_norm_backward_f32(
                            dy.floatPointer + start, xs, weights, inverses, dxs, holdsSum ? 1 : 0, sums, count, width)
                    default:
                        tf_rms_norm_backward_bf16(
                            dy.halfPointer + start, xs, weights, inverses, dxs, holdsSum ? 1 : 0, sums, count, width)
                    }
                }
            }
            if let dweight = weight.gradient {
                try addColumnSums(
                    of: partialSums, to: dweight, overRanks: rowsAreShared, site: "gradient of a norm")
            }
            parameterIsReady?(weight)
        }
    }
}
