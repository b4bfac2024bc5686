internal import CKernels

extension Context {
    /// Draws latents from the normal distributions that an encoder describes.
    ///
    /// `z = mean + exp(logvar / 2) · noise`, with logvar held in [−30, 20].
    /// - Parameters:
    ///   - moments: `[…, mean | logvar]` in the context's type.
    ///   - noise: As many numbers as the result, f32; nil takes the means.
    ///   - images: How many images the rows hold.
    ///   - scale: What the divergence is multiplied by in the total loss.
    /// - Returns: The latents, `[…, width]`, and of each image the divergence from the unit normal,
    ///   ½ Σ (mean² + exp(logvar) − 1 − logvar), unscaled.
    /// ### References
    /// Kingma and Welling 2014, "Auto-encoding variational Bayes", appendix B; the bounds are those of diffusers.
    package func gaussianLatents(_ moments: Tensor, noise: Tensor?, images: Int, scale: Float)
        -> (latents: Tensor, divergences: [Double])
    {
        let width = moments.width / 2, rows = moments.rows / max(images, 1)
        let z = empty(moments.shape.dropLast() + [width])
        precondition(noise == nil || noise?.count == z.count, "there is noise for other latents")
        let divergences = (0..<images).map { image in
            if isSizesOnly { return 0.0 }
            let start = image * rows * width, noise = noise.map { UnsafePointer($0.floatPointer + start) }
            return type == .f32
                ? tf_gaussian_forward_f32(
                    moments.floatPointer + 2 * start, noise, z.floatPointer + start, rows, width)
                : tf_gaussian_forward_bf16(moments.halfPointer + 2 * start, noise, z.halfPointer + start, rows, width)
        }
        let latents = record(z) { [self] dz, gradients in
            let dmoments = empty(moments.shape)
            compute {
                switch type {
                case .f32:
                    tf_gaussian_backward_f32(
                        moments.floatPointer, noise?.floatPointer, dz.floatPointer, scale, dmoments.floatPointer,
                        moments.rows, width)
                default:
                    tf_gaussian_backward_bf16(
                        moments.halfPointer, noise?.floatPointer, dz.halfPointer, scale, dmoments.halfPointer,
                        moments.rows, width)
                }
            }
            gradients.add(dmoments, to: moments)
        }
        return (latents, divergences)
    }

    /// The summed absolute error of each image.
    ///
    /// - Parameters:
    ///   - prediction: `[images, height, width, channels]` in the context's type.
    ///   - target: The same shape, f32.
    ///   - scale: What the sum over all elements is multiplied by in the total loss.
    /// - Returns: Σ |prediction − target| of each image, unscaled.
    package func absoluteError(_ prediction: Tensor, target: Tensor, scale: Float) -> [Double] {
        precondition(prediction.count == target.count)
        let gradient = isRecording ? empty(prediction.shape) : nil
        let images = prediction.shape[0], count = prediction.count / max(images, 1)
        let sums = (0..<images).map { image in
            if isSizesOnly { return 0.0 }
            let start = image * count
            return type == .f32
                ? tf_absolute_error_f32(
                    prediction.floatPointer + start, target.floatPointer + start, scale,
                    gradient.map { $0.floatPointer + start }, count)
                : tf_absolute_error_bf16(
                    prediction.halfPointer + start, target.floatPointer + start, scale,
                    gradient.map { $0.halfPointer + start }, count)
        }
        if let gradient { recordRoot { $0.add(gradient, to: prediction) } }
        return sums
    }

    /// Pictures `[images, channels, height, width]`, as files have them, with the channels last.
    ///
    /// - Returns: `[images, height, width, channels]` in the context's type, or another.
    package func pictures(_ values: @autoclosure () -> [Float], _ shape: [Int], _ type: ElementType? = nil) -> Tensor {
        precondition(shape.count == 4)
        let (images, channels, pixels) = (shape[0], shape[1], shape[2] * shape[3])
        let y = empty([images, shape[2], shape[3], channels], type)
        compute {
            let values = values()
            precondition(values.count == y.count, "\(values.count) values for pictures of \(shape)")
            values.withUnsafeBufferPointer { values in
                for image in 0..<images {
                    let from = values.baseAddress! + image * channels * pixels, start = image * channels * pixels
                    switch y.type {
                    case .f32: tf_channels_last_f32(from, y.floatPointer + start, channels, pixels)
                    default: tf_channels_last_bf16(from, y.halfPointer + start, channels, pixels)
                    }
                }
            }
        }
        return y
    }

    /// The way back: the numbers of `[images, height, width, channels]` in the order `[images, channels, height, width]`.
    package func channelsFirst(_ x: Tensor) -> [Float] {
        let images = x.shape[0], channels = x.width, pixels = x.rows / max(images, 1)
        return [Float](unsafeUninitializedCapacity: x.count) { buffer, count in
            count = x.count
            guard let base = buffer.baseAddress else { return }
            for image in 0..<images {
                let start = image * channels * pixels
                switch x.type {
                case .f32: tf_channels_first_f32(x.floatPointer + start, base + start, channels, pixels)
                default: tf_channels_first_bf16(x.halfPointer + start, base + start, channels, pixels)
                }
            }
        }
    }
}
