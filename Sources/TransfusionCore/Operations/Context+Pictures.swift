internal import CKernels
internal import Glibc

extension Context {
    /// Each pixel as a block of 2 × 2 (nearest neighbour).
    ///
    /// - Parameter x: `[images, height, width, channels]` in the context's type.
    /// - Returns: `[images, 2 · height, 2 · width, channels]`.
    package func upsample(_ x: Tensor) -> Tensor {
        let (images, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        let y = empty([images, 2 * height, 2 * width, channels])
        let grain = Self.rowGrain(2 * width * channels)
        parallel(images * 2 * height, grain: grain) { lines in
            tf_upsample_forward(
                x.bytes.baseAddress!, y.bytes.baseAddress!, width, channels * type.byteCount, lines.lowerBound,
                lines.upperBound)
        }
        return record(y) { [self] dy, gradients in
            let dx = empty(x.shape)
            parallel(images * height, grain: grain) { lines in
                let first = lines.lowerBound, last = lines.upperBound
                switch type {
                case .f32:
                    tf_upsample_backward_f32(dy.floatPointer, dx.floatPointer, width, channels, first, last)
                default: tf_upsample_backward_bf16(dy.halfPointer, dx.halfPointer, width, channels, first, last)
                }
            }
            gradients.add(dx, to: x)
        }
    }

    /// The channels of two tensors, pixel by pixel behind each other.
    ///
    /// - Parameters:
    ///   - first: `[images, height, width, channels]` in the context's type.
    ///   - second: The same with channels of its own.
    /// - Returns: `[images, height, width, channels of both]`.
    package func joinedChannels(_ first: Tensor, _ second: Tensor) -> Tensor {
        precondition(first.shape.dropLast() == second.shape.dropLast(), "\(first.shape) beside \(second.shape)")
        let y = empty(first.shape.dropLast() + [first.width + second.width])
        let whole = y.width * type.byteCount, left = first.width * type.byteCount, right = whole - left
        let grain = Self.rowGrain(y.width)
        parallel(y.rows, grain: grain) { pixels in
            for pixel in pixels {
                let to = y.bytes.baseAddress! + pixel * whole
                memcpy(to, first.bytes.baseAddress! + pixel * left, left)
                memcpy(to + left, second.bytes.baseAddress! + pixel * right, right)
            }
        }
        return record(y) { [self] dy, gradients in
            let (dfirst, dsecond) = (empty(first.shape), empty(second.shape))
            parallel(y.rows, grain: grain) { pixels in
                for pixel in pixels {
                    let from = dy.bytes.baseAddress! + pixel * whole
                    memcpy(dfirst.bytes.baseAddress! + pixel * left, from, left)
                    memcpy(dsecond.bytes.baseAddress! + pixel * right, from + left, right)
                }
            }
            gradients.add(dfirst, to: first)
            gradients.add(dsecond, to: second)
        }
    }

    /// The same numbers in another shape, as rows of the transformer and pixels of a picture are.
    package func shaped(_ x: Tensor, _ shape: [Int]) -> Tensor {
        record(x.reshaped(shape)) { dy, gradients in gradients.add(dy.reshaped(x.shape), to: x) }
    }

    /// The same numbers in f32, as losses take them; the gradient is in the context's type.
    package func widened(_ x: Tensor) -> Tensor {
        record(type == .f32 ? x.reshaped(x.shape) : converted(x, to: .f32)) { [self] dy, gradients in
            gradients.add(converted(dy, to: type), to: x)
        }
    }

    /// The mean of each window of `size` × `size` pixels.
    ///
    /// - Parameters:
    ///   - x: `[images, height, width, channels]` in the context's type.
    ///   - padding: On each side, at most half of `size`.
    ///   - countsPadding: Whether pixels outside of the picture count as zeros, or not at all.
    package func averagePool(_ x: Tensor, size: Int, stride: Int, padding: Int = 0, countsPadding: Bool = true)
        -> Tensor
    {
        var pooling = Self.pooling(x, size, stride, padding)
        let images = x.shape[0], counts: Int32 = countsPadding ? 1 : 0
        let y = empty([images, pooling.out_height, pooling.out_width, pooling.channels])
        let grain = Self.rowGrain(pooling.width * pooling.channels)
        parallel(images * pooling.out_height, grain: grain) { lines in
            let first = lines.lowerBound, last = lines.upperBound
            switch type {
            case .f32: tf_average_pool_forward_f32(x.floatPointer, y.floatPointer, &pooling, counts, first, last)
            default: tf_average_pool_forward_bf16(x.halfPointer, y.halfPointer, &pooling, counts, first, last)
            }
        }
        return record(y) { [self] dy, gradients in
            let dx = empty(x.shape)
            var pooling = pooling
            parallel(images * pooling.height, grain: grain) { lines in
                let first = lines.lowerBound, last = lines.upperBound
                switch type {
                case .f32:
                    tf_average_pool_backward_f32(dy.floatPointer, dx.floatPointer, &pooling, counts, first, last)
                default: tf_average_pool_backward_bf16(dy.halfPointer, dx.halfPointer, &pooling, counts, first, last)
                }
            }
            gradients.add(dx, to: x)
        }
    }

    /// The largest pixel of each window of `size` × `size`, channel by channel; the gradient goes to the first of equals.
    ///
    /// - Parameters:
    ///   - x: `[images, height, width, channels]` in the context's type.
    ///   - padding: On each side, at most half of `size`; what lies outside of the picture is never the largest.
    package func maxPool(_ x: Tensor, size: Int, stride: Int, padding: Int = 0) -> Tensor {
        var pooling = Self.pooling(x, size, stride, padding)
        let images = x.shape[0]
        let y = empty([images, pooling.out_height, pooling.out_width, pooling.channels])
        let places = empty(y.shape, .i32)
        let grain = Self.rowGrain(pooling.width * pooling.channels)
        parallel(images * pooling.out_height, grain: grain) { lines in
            let first = lines.lowerBound, last = lines.upperBound, to = places.integerPointer
            switch type {
            case .f32: tf_max_pool_forward_f32(x.floatPointer, y.floatPointer, to, &pooling, first, last)
            default: tf_max_pool_forward_bf16(x.halfPointer, y.halfPointer, to, &pooling, first, last)
            }
        }
        return record(y) { [self] dy, gradients in
            let dx = empty(x.shape)
            var pooling = pooling
            parallel(images * pooling.height, grain: grain) { lines in
                let first = lines.lowerBound, last = lines.upperBound, from = places.integerPointer
                switch type {
                case .f32: tf_max_pool_backward_f32(dy.floatPointer, from, dx.floatPointer, &pooling, first, last)
                default: tf_max_pool_backward_bf16(dy.halfPointer, from, dx.halfPointer, &pooling, first, last)
                }
            }
            gradients.add(dx, to: x)
        }
    }

    private static func pooling(_ x: Tensor, _ size: Int, _ stride: Int, _ padding: Int) -> tf_pooling {
        let height = x.shape[1], width = x.shape[2]
        precondition(
            size >= 1 && stride >= 1 && (0...size / 2).contains(padding), "windows of \(size), \(padding) beside")
        precondition(height + 2 * padding >= size && width + 2 * padding >= size, "windows larger than the picture")
        return tf_pooling(
            height: height, width: width, out_height: (height + 2 * padding - size) / stride + 1,
            out_width: (width + 2 * padding - size) / stride + 1, channels: x.shape[3], size: size, stride: stride,
            padding: padding)
    }
}
