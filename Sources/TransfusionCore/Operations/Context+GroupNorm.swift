internal import CKernels

extension Context {
    /// Normalises each group of channels of each picture, then scales and shifts, and applies SiLU when asked to.
    ///
    /// `n = (x − mean) / sqrt(variance + epsilon)` over the pixels and channels of a group, with the biased variance;
    /// `y = n · weight[c] + bias[c]`, computed in f32. Only x and two numbers a channel are kept for the backward pass.
    /// - Parameters:
    ///   - x: `[images, height, width, channels]` in the context's type.
    ///   - groups: Divides the channels.
    /// - Returns: The shape of x, in the context's type.
    /// ### References
    /// Wu and He 2018, "Group normalization", equation 7; Chan, Golub and LeVeque 1979 for the variance.
    package func groupNorm(
        _ x: Tensor, weight: Parameter, bias: Parameter, groups: Int, epsilon: Float, silu: Bool = false
    ) -> Tensor {
        let images = x.shape[0], channels = x.width
        precondition(channels.isMultiple(of: groups), "\(channels) channels do not make \(groups) groups")
        let norm = GroupNormPass(images: images, pixels: x.rows / max(images, 1), channels: channels)
        let y = empty(x.shape)
        let statistics = groupNormStatistics(norm, x, groups: groups, epsilon: epsilon)
        tasks(images * norm.runs) { task in
            let rows = norm.rows(task), start = rows.lowerBound * channels
            let mean = statistics.floatPointer + norm.image(task) * 2 * channels
            switch type {
            case .f32:
                tf_group_norm_forward_f32(
                    x.floatPointer + start, mean, mean + channels, weight.value.floatPointer, bias.value.floatPointer,
                    silu ? 1 : 0, y.floatPointer + start, rows.count, channels)
            default:
                tf_group_norm_forward_bf16(
                    x.halfPointer + start, mean, mean + channels, weight.value.floatPointer, bias.value.floatPointer,
                    silu ? 1 : 0, y.halfPointer + start, rows.count, channels)
            }
        }
        return record(y) { [self] dy, gradients in
            let slopes = groupNormSlopes(norm, x, dy, statistics, weight, bias, groups: groups, silu: silu)
            parameterIsReady?(weight)
            parameterIsReady?(bias)
            gradients.update(x, type) { dx, holdsSum in
                tasks(images * norm.runs) { task in
                    let rows = norm.rows(task), start = rows.lowerBound * channels
                    let mean = statistics.floatPointer + norm.image(task) * 2 * channels
                    let shift = slopes.floatPointer + norm.image(task) * 2 * channels
                    let weights = weight.value.floatPointer, biases = bias.value.floatPointer
                    switch type {
                    case .f32:
                        tf_group_norm_backward_f32(
                            dy.floatPointer + start, x.floatPointer + start, mean, mean + channels, weights, biases,
                            silu ? 1 : 0, shift, shift + channels, holdsSum ? 1 : 0, dx.floatPointer + start,
                            rows.count, channels)
                    default:
                        tf_group_norm_backward_bf16(
                            dy.halfPointer + start, x.halfPointer + start, mean, mean + channels, weights, biases,
                            silu ? 1 : 0, shift, shift + channels, holdsSum ? 1 : 0, dx.halfPointer + start,
                            rows.count, channels)
                    }
                }
            }
        }
    }

    /// Mean and inverse deviation of each image and channel, `[images, 2, channels]`.
    private func groupNormStatistics(_ norm: GroupNormPass, _ x: Tensor, groups: Int, epsilon: Float) -> Tensor {
        let channels = norm.channels
        let statistics = empty([norm.images, 2, channels], .f32)
        let moments = empty([norm.images, norm.runs, 2, channels], .f32)
        tasks(norm.images * norm.runs) { task in
            let rows = norm.rows(task), sums = moments.floatPointer + task * 2 * channels
            switch type {
            case .f32:
                tf_channel_moments_f32(
                    x.floatPointer + rows.lowerBound * channels, sums, sums + channels, rows.count, channels)
            default:
                tf_channel_moments_bf16(
                    x.halfPointer + rows.lowerBound * channels, sums, sums + channels, rows.count, channels)
            }
        }
        compute {
            for image in 0..<norm.images {
                let mean = statistics.floatPointer + image * 2 * channels
                tf_group_statistics(
                    moments.floatPointer + image * norm.runs * 2 * channels, norm.runs, norm.run, norm.lastRun,
                    channels, groups, epsilon, mean, mean + channels)
            }
        }
        return statistics
    }

    /// The first half of the backward pass: adds to the gradients of weight and bias, and finds what each group's gradients
    /// have in common, `[images, 2, channels]`.
    private func groupNormSlopes(
        _ norm: GroupNormPass, _ x: Tensor, _ dy: Tensor, _ statistics: Tensor, _ weight: Parameter,
        _ bias: Parameter, groups: Int, silu: Bool
    ) -> Tensor {
        let channels = norm.channels
        let sums = empty([norm.images, norm.runs, 2, channels], .f32)
        let slopes = empty([norm.images, 2, channels], .f32)
        tasks(norm.images * norm.runs) { task in
            let rows = norm.rows(task), start = rows.lowerBound * channels
            let mean = statistics.floatPointer + norm.image(task) * 2 * channels
            let to = sums.floatPointer + task * 2 * channels
            let weights = weight.value.floatPointer, biases = bias.value.floatPointer
            switch type {
            case .f32:
                tf_group_norm_sums_f32(
                    dy.floatPointer + start, x.floatPointer + start, mean, mean + channels, weights, biases,
                    silu ? 1 : 0, to, to + channels, rows.count, channels)
            default:
                tf_group_norm_sums_bf16(
                    dy.halfPointer + start, x.halfPointer + start, mean, mean + channels, weights, biases,
                    silu ? 1 : 0, to, to + channels, rows.count, channels)
            }
        }
        compute {
            for image in 0..<norm.images {
                let shift = slopes.floatPointer + image * 2 * channels
                tf_group_norm_slopes(
                    sums.floatPointer + image * norm.runs * 2 * channels, norm.runs, norm.pixels, channels, groups,
                    weight.value.floatPointer, weight.gradient?.floatPointer, bias.gradient?.floatPointer, shift,
                    shift + channels)
            }
        }
        return slopes
    }
}

/// How a pass over pictures is cut: into runs of pixels of one image, the same whatever the number of threads.
private struct GroupNormPass {
    let images: Int
    let pixels: Int
    let channels: Int
    let run: Int

    init(images: Int, pixels: Int, channels: Int) {
        self.images = images
        self.pixels = pixels
        self.channels = channels
        run = min(max(pixels, 1), Context.pixelRun(channels))
    }

    /// Runs of an image.
    var runs: Int { max(1, (pixels + run - 1) / run) }
    var lastRun: Int { pixels - (runs - 1) * run }

    func image(_ task: Int) -> Int { task / runs }

    /// The pixels of a run, counted over all images.
    func rows(_ task: Int) -> Range<Int> {
        let first = task % runs * run, start = image(task) * pixels
        return start + first..<start + min(first + run, pixels)
    }
}
