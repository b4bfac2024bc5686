internal import CKernels

extension Context {
    /// How far the features of pictures are from those of others: of each pixel the weighted squares between the vectors of its
    /// channels at unit length, and of those the mean.
    ///
    /// - Parameters:
    ///   - x: `[images, height, width, channels]` in the context's type.
    ///   - other: Of the same shape; gets no gradient.
    ///   - weights: `[channels]`, f32.
    ///   - scale: What the sum over the images is multiplied by in the total loss.
    /// - Returns: The mean over the pixels of each image, unscaled.
    /// ### References
    /// Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric", equation 1.
    package func featureDistance(_ x: Tensor, _ other: Tensor, weights: Tensor, scale: Float) -> [Double] {
        precondition(x.shape == other.shape && weights.count == x.width, "features of different pictures")
        let gradient = isRecording ? empty(x.shape) : nil
        let images = x.shape[0], channels = x.width, pixels = x.rows / max(images, 1)
        let share = scale / Float(max(pixels, 1))
        let run = min(max(pixels, 1), Self.pixelRun(channels)), runs = (pixels + run - 1) / run
        var sums = [Double](repeating: 0, count: images * runs)
        sums.withUnsafeMutableBufferPointer { sums in
            let sums = sums
            tasks(images * runs) { task in
                let row = task / runs * pixels + task % runs * run, first = row * channels
                let count = min(run, pixels - task % runs * run)
                sums[task] =
                    type == .f32
                    ? tf_feature_distance_f32(
                        x.floatPointer + first, other.floatPointer + first, weights.floatPointer, share,
                        gradient.map { $0.floatPointer + first }, count, channels)
                    : tf_feature_distance_bf16(
                        x.halfPointer + first, other.halfPointer + first, weights.floatPointer, share,
                        gradient.map { $0.halfPointer + first }, count, channels)
            }
        }
        if let gradient { recordLoss(gradient: gradient, of: x) }
        return (0..<images).map { sums[$0 * runs..<($0 + 1) * runs].reduce(0, +) / Double(max(pixels, 1)) }
    }

    /// Of each row 1 less the cosine of the angle between it and another.
    ///
    /// - Parameters:
    ///   - x: `[…, width]` in the context's type, a row an image.
    ///   - other: Of the same shape; gets no gradient.
    ///   - scale: What the sum over the rows is multiplied by in the total loss.
    package func cosineDistance(_ x: Tensor, _ other: Tensor, scale: Float) -> [Double] {
        precondition(x.shape == other.shape)
        let width = x.width, first = converted(x, to: .f32), second = converted(other, to: .f32)
        let gradient = empty(x.shape, .f32)
        var distances = [Double](repeating: 0, count: x.rows)
        compute {
            for row in 0..<x.rows {
                let a = first.floatPointer + row * width, b = second.floatPointer + row * width
                var (product, aSquares, bSquares) = (0.0, 0.0, 0.0)
                for c in 0..<width {
                    product += Double(a[c]) * Double(b[c])
                    aSquares += Double(a[c]) * Double(a[c])
                    bSquares += Double(b[c]) * Double(b[c])
                }
                // As torch.nn.functional.normalize has it.
                let aNorm = max(aSquares.squareRoot(), 1e-12), bNorm = max(bSquares.squareRoot(), 1e-12)
                let cosine = product / (aNorm * bNorm)
                distances[row] = 1 - cosine
                for c in 0..<width {
                    let slope = cosine * Double(a[c]) / aNorm - Double(b[c]) / bNorm
                    gradient.f32[row * width + c] = scale * Float(slope / aNorm)
                }
            }
        }
        if isRecording { recordLoss(gradient: converted(gradient, to: x.type), of: x) }
        return distances
    }

    /// Each channel less its mean, over its deviation: `(x − mean[c]) / deviation[c]`.
    ///
    /// - Parameter x: `[images, height, width, channels]` in the context's type.
    package func standardized(_ x: Tensor, mean: [Float], deviation: [Float]) -> Tensor {
        let channels = x.width
        precondition(mean.count == channels && deviation.count == channels)
        func vector(_ values: [Float]) -> Tensor {
            let tensor = empty([channels], .f32)
            compute { _ = tensor.f32.update(from: values) }
            return tensor
        }
        let means = vector(mean), inverses = vector(deviation.map { 1 / $0 })
        let ones = vector([Float](repeating: 1, count: channels)),
            zeros = vector([Float](repeating: 0, count: channels))
        let y = empty(x.shape), run = Self.pixelRun(channels), runs = (x.rows + run - 1) / run
        tasks(runs) { task in
            let first = task * run * channels, rows = min(run, x.rows - task * run)
            switch type {
            case .f32:
                tf_group_norm_forward_f32(
                    x.floatPointer + first, means.floatPointer, inverses.floatPointer, ones.floatPointer,
                    zeros.floatPointer, 0, y.floatPointer + first, rows, channels)
            default:
                tf_group_norm_forward_bf16(
                    x.halfPointer + first, means.floatPointer, inverses.floatPointer, ones.floatPointer,
                    zeros.floatPointer, 0, y.halfPointer + first, rows, channels)
            }
        }
        return record(y) { [self] dy, gradients in
            let dx = empty(x.shape)
            tasks(runs) { task in
                let first = task * run * channels, rows = min(run, x.rows - task * run)
                switch type {
                case .f32:
                    tf_group_norm_forward_f32(
                        dy.floatPointer + first, zeros.floatPointer, inverses.floatPointer, ones.floatPointer,
                        zeros.floatPointer, 0, dx.floatPointer + first, rows, channels)
                default:
                    tf_group_norm_forward_bf16(
                        dy.halfPointer + first, zeros.floatPointer, inverses.floatPointer, ones.floatPointer,
                        zeros.floatPointer, 0, dx.halfPointer + first, rows, channels)
                }
            }
            gradients.add(dx, to: x)
        }
    }

    /// Pictures at another size, each pixel that of the place it comes from (nearest neighbour), as PyTorch's `interpolate` does.
    ///
    /// - Parameter x: `[images, height, width, channels]` in the context's type.
    package func resizedNearest(_ x: Tensor, height: Int, width: Int) -> Tensor {
        let (images, channels) = (x.shape[0], x.shape[3])
        func places(_ count: Int, of source: Int) -> [Int] {
            // PyTorch reckons in single precision.
            let step = Float(source) / Float(count)
            return (0..<count).map { min(Int(Float($0) * step), source - 1) }
        }
        let rows = places(height, of: x.shape[1]), columns = places(width, of: x.shape[2])
        let y = empty([images, height, width, channels]), sourceWidth = x.shape[2]
        func source(_ image: Int, _ row: Int, _ column: Int) -> Int {
            ((image * x.shape[1] + rows[row]) * sourceWidth + columns[column]) * channels
        }
        let bytes = channels * type.byteCount
        parallel(images * height, grain: Self.rowGrain(width * channels)) { lines in
            guard let from = x.bytes.baseAddress, let to = y.bytes.baseAddress else { return }
            for line in lines {
                for column in 0..<width {
                    (to + (line * width + column) * bytes).copyMemory(
                        from: from + source(line / height, line % height, column) * type.byteCount, byteCount: bytes)
                }
            }
        }
        return record(y) { [self] dy, gradients in
            let dx = empty(x.shape, .f32), upstream = converted(dy, to: .f32)
            compute { dx.fill(0) }
            parallel(images) { range in
                for image in range {
                    for row in 0..<height {
                        for column in 0..<width {
                            let to = dx.floatPointer + source(image, row, column)
                            let from = upstream.floatPointer + ((image * height + row) * width + column) * channels
                            for c in 0..<channels { to[c] += from[c] }
                        }
                    }
                }
            }
            gradients.add(converted(dx, to: x.type), to: x)
        }
    }
}
