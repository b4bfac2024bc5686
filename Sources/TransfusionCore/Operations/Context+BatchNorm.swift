internal import CKernels

/// What the batch normalisation of one layer knows of a whole batch, all of its parts on all ranks.
package final class BatchStatistics {
    /// Mean and inverse deviation of each channel, `[2, channels]`, f32.
    fileprivate let moments: Tensor
    /// Pixels of the whole batch.
    fileprivate let count: Int
    /// What the gradients of all pixels have in common, `[2, channels]`, f32; nil until it is found.
    fileprivate var slopes: Tensor?

    fileprivate init(moments: Tensor, count: Int) {
        self.moments = moments
        self.count = count
    }
}

/// Batch normalisation whose statistics are those of the whole global batch, however it is cut into micro-batches and shared out
/// over ranks.
///
/// All parts have to come to a normalisation before one of them can go on, forwards and backwards. So a pass goes through
/// the layers with all parts side by side and finds `BatchStatistics`; after that each part can be computed by itself, as other
/// micro-batches are. Sums are made in the order of the parts, ranks after each other: their bits do not depend on the ranks.
///
/// ### References
/// Ioffe and Szegedy 2015, "Batch normalization", algorithm 1; across ranks PyTorch's `SyncBatchNorm`; Chan, Golub and LeVeque
/// 1979 for the variance.
extension Context {
    /// The statistics of a batch.
    ///
    /// - Parameters:
    ///   - parts: This rank's parts in order, `[images, height, width, channels]` each in the context's type. Every rank has one.
    ///   - epsilon: Added to the variance, which is the biased one.
    ///   - group: The ranks that have the other parts.
    package func batchStatistics(_ parts: [Tensor], epsilon: Float, group: any Collectives) throws -> BatchStatistics {
        let channels = parts[0].width, result = empty([2, channels], .f32)
        guard !isSizesOnly else { return BatchStatistics(moments: result, count: 1) }
        let all = try group.allGather(parts.map(moments(of:)), site: "batch statistics")
        var count = 0.0
        var mean = [Double](repeating: 0, count: channels), squares = mean
        for part in all {
            let rows = part[0], sum = count + rows
            for c in 0..<channels {
                let away = part[1 + c] - mean[c]
                mean[c] += away * rows / sum
                squares[c] += part[1 + channels + c] + away * away * count * rows / sum
            }
            count = sum
        }
        for c in 0..<channels {
            result.f32[c] = Float(mean[c])
            result.f32[channels + c] = Float(1 / (squares[c] / count + Double(epsilon)).squareRoot())
        }
        return BatchStatistics(moments: result, count: Int(count))
    }

    /// Normalises each channel, then scales and shifts: `y = (x − mean) / sqrt(variance + epsilon) · weight[c] + bias[c]`.
    ///
    /// The backward pass needs what `findSlopes` has found, as the gradient of each pixel depends on those of all others.
    /// - Parameters:
    ///   - x: One part of the batch, `[images, height, width, channels]` in the context's type.
    ///   - statistics: Of the whole batch.
    package func batchNorm(_ x: Tensor, weight: Parameter, bias: Parameter, _ statistics: BatchStatistics) -> Tensor {
        let channels = x.width, mean = statistics.moments.floatPointer
        let y = empty(x.shape)
        pixelRuns(x) { _, first, rows in
            let weights = weight.value.floatPointer, biases = bias.value.floatPointer
            switch type {
            case .f32:
                tf_group_norm_forward_f32(
                    x.floatPointer + first, mean, mean + channels, weights, biases, 0, y.floatPointer + first, rows,
                    channels)
            default:
                tf_group_norm_forward_bf16(
                    x.halfPointer + first, mean, mean + channels, weights, biases, 0, y.halfPointer + first, rows,
                    channels)
            }
        }
        return record(y) { [self] dy, gradients in
            if weight.gradient != nil, !isSizesOnly {
                let sums = gradientSums(dy, x, weight, bias, statistics)
                for c in 0..<channels {
                    bias.gradient?.floatPointer[c] += Float(sums[c])
                    weight.gradient?.floatPointer[c] += Float(sums[channels + c])
                }
            }
            parameterIsReady?(weight)
            parameterIsReady?(bias)
            gradients.add(batchNormGradient(dy, x, weight: weight, bias: bias, statistics), to: x)
        }
    }

    /// Finds what the gradients of a whole batch have in common at a normalisation.
    ///
    /// - Parameters:
    ///   - dys: The gradients of the results, of this rank's parts.
    ///   - xs: What was normalised.
    package func findSlopes(
        _ dys: [Tensor], _ xs: [Tensor], weight: Parameter, bias: Parameter, _ statistics: BatchStatistics,
        group: any Collectives
    ) throws {
        let channels = xs[0].width, slopes = empty([2, channels], .f32)
        statistics.slopes = slopes
        guard !isSizesOnly else { return }
        let own = zip(dys, xs).map { gradientSums($0, $1, weight, bias, statistics) }
        let all = try group.allGather(own, site: "batch slopes")
        for c in 0..<2 * channels {
            let sum = all.reduce(0) { $0 + $1[c] }
            slopes.f32[c] = Float(Double(weight.value.f32[c % channels]) * sum / Double(statistics.count))
        }
    }

    /// The gradient of what was normalised, once `findSlopes` has seen all parts.
    package func batchNormGradient(
        _ dy: Tensor, _ x: Tensor, weight: Parameter, bias: Parameter, _ statistics: BatchStatistics
    ) -> Tensor {
        guard let slopes = statistics.slopes else {
            preconditionFailure("a batch was not surveyed before its gradients")
        }
        let channels = x.width, mean = statistics.moments.floatPointer, shift = slopes.floatPointer
        let dx = empty(x.shape)
        pixelRuns(x) { _, first, rows in
            let weights = weight.value.floatPointer, biases = bias.value.floatPointer
            switch type {
            case .f32:
                tf_group_norm_backward_f32(
                    dy.floatPointer + first, x.floatPointer + first, mean, mean + channels, weights, biases, 0, shift,
                    shift + channels, 0, dx.floatPointer + first, rows, channels)
            default:
                tf_group_norm_backward_bf16(
                    dy.halfPointer + first, x.halfPointer + first, mean, mean + channels, weights, biases, 0, shift,
                    shift + channels, 0, dx.halfPointer + first, rows, channels)
            }
        }
        return dx
    }

    /// The number of pixels of a part, the mean of each channel, and the squares about it.
    private func moments(of x: Tensor) -> [Double] {
        let channels = x.width, sums = empty([runs(of: x), 2, channels], .f32)
        pixelRuns(x) { run, first, rows in
            let to = sums.floatPointer + run * 2 * channels
            switch type {
            case .f32: tf_channel_moments_f32(x.floatPointer + first, to, to + channels, rows, channels)
            default: tf_channel_moments_bf16(x.halfPointer + first, to, to + channels, rows, channels)
            }
        }
        var result = [Double](repeating: 0, count: 1 + 2 * channels)
        result[0] = Double(x.rows)
        let length = Self.pixelRun(channels)
        for c in 0..<channels {
            let total = (0..<sums.shape[0]).reduce(0.0) { $0 + Double(sums.f32[$1 * 2 * channels + c]) }
            let mean = total / result[0]
            result[1 + c] = mean
            for run in 0..<sums.shape[0] {
                let rows = Double(min(length, x.rows - run * length))
                let away = Double(sums.f32[run * 2 * channels + c]) / rows - mean
                result[1 + channels + c] += Double(sums.f32[(run * 2 + 1) * channels + c]) + rows * away * away
            }
        }
        return result
    }

    /// Of each channel Σ dy, and after those Σ dy · (x − mean) / deviation.
    private func gradientSums(
        _ dy: Tensor, _ x: Tensor, _ weight: Parameter, _ bias: Parameter, _ statistics: BatchStatistics
    ) -> [Double] {
        let channels = x.width, sums = empty([runs(of: x), 2 * channels], .f32)
        let mean = statistics.moments.floatPointer
        pixelRuns(x) { run, first, rows in
            let to = sums.floatPointer + run * 2 * channels
            let weights = weight.value.floatPointer, biases = bias.value.floatPointer
            switch type {
            case .f32:
                tf_group_norm_sums_f32(
                    dy.floatPointer + first, x.floatPointer + first, mean, mean + channels, weights, biases, 0, to,
                    to + channels, rows, channels)
            default:
                tf_group_norm_sums_bf16(
                    dy.halfPointer + first, x.halfPointer + first, mean, mean + channels, weights, biases, 0, to,
                    to + channels, rows, channels)
            }
        }
        return (0..<2 * channels).map { c in
            (0..<sums.shape[0]).reduce(0.0) { $0 + Double(sums.f32[$1 * 2 * channels + c]) }
        }
    }

    private func runs(of x: Tensor) -> Int { max(1, (x.rows + Self.pixelRun(x.width) - 1) / Self.pixelRun(x.width)) }

    /// Calls `body` for runs of pixels, whose length does not depend on the number of threads.
    private func pixelRuns(_ x: Tensor, _ body: (_ run: Int, _ firstElement: Int, _ rows: Int) -> Void) {
        let length = Self.pixelRun(x.width)
        tasks(runs(of: x)) { run in body(run, run * length * x.width, min(length, x.rows - run * length)) }
    }
}
