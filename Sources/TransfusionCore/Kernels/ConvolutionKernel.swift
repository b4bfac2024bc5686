internal import CKernels

/// Convolutions over pictures `[images, height, width, channels]` on the threads of a pool.
///
/// The windows of a run of pixels are gathered in a buffer that stays in the cache, and multiplied with the weights by the
/// project's products. oneDNN's convolutions are the alternative. Measured side by side, one thread each (Zen 5, 3 x 3, 128
/// to 512 channels, bf16): 225–237 GFLOP/s for oneDNN and 218–225 for this in the forward pass, 162–231 and 198–209 for the
/// weights' gradient; gathering takes 1–6 % of the time. For that the products here need no second library, run on
/// every CPU and in every type that `Matmul` knows, and add up in an order that does not change with a shape.
///
/// What a task computes does not depend on the number of threads, so neither do results.
final class ConvolutionKernel {
    private let pool: ThreadPool
    private let matmul: Matmul
    private let windows: [ScratchMemory]
    private let sums: [ScratchMemory]

    /// Bytes of windows gathered at a time.
    private static let windowBytes = 1 << 20
    /// Tasks into which a pass is cut where it is large enough, for many threads to share.
    private static let tasks = 36

    init(pool: ThreadPool, matmul: Matmul) {
        self.pool = pool
        self.matmul = matmul
        windows = (0..<pool.threadCount).map { _ in ScratchMemory() }
        sums = (0..<pool.threadCount).map { _ in ScratchMemory() }
    }

    /// A matrix `[outputs, taps · channels]` that windows are multiplied with.
    struct Weights {
        let matrix: Tensor
        let isPacked: Bool
    }

    /// Puts a weight in the order in which the windows of a pass have their pixels.
    ///
    /// - Parameters:
    ///   - weight: `[outputs, inputs, kernel height, kernel width]`.
    ///   - turned: Whether for the way back, from outputs to inputs.
    ///   - matrix: Written.
    func prepare(_ weight: Tensor, order: [Int32], turned: Bool, into matrix: Tensor) -> Weights {
        let outputs = weight.shape[0], inputs = weight.shape[1], taps = weight.count / (outputs * inputs)
        pool.parallel(turned ? inputs : outputs, grain: max(1, (1 << 14) / max(1, order.count))) { range in
            let first = range.lowerBound, last = range.upperBound
            switch (weight.type, turned) {
            case (.f32, false):
                tf_weights_by_output_f32(
                    weight.floatPointer, inputs, taps, order, order.count, matrix.floatPointer, first, last)
            case (.f32, true):
                tf_weights_by_input_f32(
                    weight.floatPointer, outputs, inputs, taps, order, order.count, matrix.floatPointer, first, last)
            case (_, false):
                tf_weights_by_output_bf16(
                    weight.halfPointer, inputs, taps, order, order.count, matrix.halfPointer, first, last)
            case (_, true):
                tf_weights_by_input_bf16(
                    weight.halfPointer, outputs, inputs, taps, order, order.count, matrix.halfPointer, first, last)
            }
        }
        return Weights(matrix: matrix, isPacked: matmul.pack(matrix))
    }

    /// Makes the pixels of a pass: `target = windows · weightsᵀ + bias + addend`, rounded once.
    ///
    /// - Parameters:
    ///   - source: `[images, height, width, channels]`, where the windows are.
    ///   - bias: f32, one number a channel of the target, or nil.
    ///   - addend: What is added, of the target's shape, or nil. May be the target.
    ///   - target: `[images, height, width, channels]` in the type of the source.
    func run(
        _ pass: ConvolutionShape.Pass, _ source: Tensor, _ weights: Weights, bias: Tensor?, addend: Tensor?,
        into target: Tensor
    ) {
        let channels = target.width, depth = source.width * pass.order.count
        let pixels = target.shape[0] * pass.gridHeight * pass.gridWidth
        var grid = tf_grid(
            height: target.shape[1], width: target.shape[2], grid_height: pass.gridHeight, grid_width: pass.gridWidth,
            top: pass.top, left: pass.left, step: pass.step)
        var description = Self.windows(pass, of: source)
        let isPointwise =
            pass.order.count == 1 && source.shape == target.shape.dropLast() + [source.width]
            && pass.windowStep == 1 && pass.windowTop == 0 && pass.windowLeft == 0
        let chunk = Self.chunk(pixels, rowBytes: depth * source.type.byteCount, least: source.type == .f32 ? 256 : 64)
        pool.tasks((pixels + chunk - 1) / chunk) { task, thread in
            let first = task * chunk, count = min(chunk, pixels - first)
            let result = sums[thread].take(count * channels * 4).assumingMemoryBound(to: Float.self)
            if depth > 0 {
                let address: UnsafeMutableRawPointer
                if isPointwise {
                    address = source.bytes.baseAddress! + first * source.width * source.type.byteCount
                } else {
                    address = windows[thread].take(count * depth * source.type.byteCount)
                    tf_gather_windows(source.bytes.baseAddress!, &description, first, count, address)
                }
                let matrix = MatrixView(address, source.type, rows: count, columns: depth, rowStride: depth)
                matmul.multiplyOnThisThread(
                    matrix,
                    weights.isPacked
                        ? MatrixView(transposeOfPacked: weights.matrix) : MatrixView(weights.matrix).transposed,
                    into: MatrixView(result, .f32, rows: count, columns: channels, rowStride: channels))
            } else {
                // Pixels that no window has.
                result.update(repeating: 0, count: count * channels)
            }
            switch target.type {
            case .f32:
                tf_store_pixels_f32(
                    result, bias?.floatPointer, addend?.floatPointer, target.floatPointer, &grid, first, count, channels
                )
            default:
                tf_store_pixels_bf16(
                    result, bias?.floatPointer, addend?.halfPointer, target.halfPointer, &grid, first, count, channels)
            }
        }
    }

    private static func windows(_ pass: ConvolutionShape.Pass, of source: Tensor) -> tf_windows {
        let pixel = source.width * source.type.byteCount
        return tf_windows(
            height: source.shape[1], width: source.shape[2], pixel_bytes: pixel, first_byte: 0, tap_bytes: pixel,
            grid_height: pass.gridHeight, grid_width: pass.gridWidth, top: pass.windowTop, left: pass.windowLeft,
            step: pass.windowStep, rows: pass.windowHeight, columns: pass.windowWidth)
    }

    private static func chunk(_ pixels: Int, rowBytes: Int, least: Int) -> Int {
        let fitting = max(256, windowBytes / max(rowBytes, 1) / 64 * 64)
        let shared = (pixels / tasks + 63) / 64 * 64
        return min(fitting, max(least, shared))
    }
}

extension ConvolutionKernel {
    /// How the gradient of a weight is cut into tasks: by columns of the matrix `[outputs, taps · inputs]`, and by pixels,
    /// whose parts have a matrix of sums each.
    struct GradientPlan {
        /// A run of columns: the taps of some rows and columns of the kernel, and of each a run of channels.
        struct Unit {
            let row: Int
            let column: Int
            let rows: Int
            let columns: Int
            let channels: Range<Int>
        }

        let units: [Unit]
        /// How many parts the pixels have.
        let parts: Int

        init(_ shape: ConvolutionShape) {
            let inputs = shape.inputs
            if inputs > 256 {
                let pieces = (inputs + 255) / 256
                units = (0..<shape.taps).flatMap { tap in
                    (0..<pieces).map {
                        Unit(
                            row: tap / shape.kernelWidth, column: tap % shape.kernelWidth, rows: 1, columns: 1,
                            channels: inputs * $0 / pieces..<inputs * ($0 + 1) / pieces)
                    }
                }
            } else if inputs >= 192 {
                units = (0..<shape.taps).map {
                    Unit(
                        row: $0 / shape.kernelWidth, column: $0 % shape.kernelWidth, rows: 1, columns: 1,
                        channels: 0..<inputs)
                }
            } else {
                let rows = inputs * shape.kernelWidth >= 128 ? 1 : shape.kernelHeight
                units = stride(from: 0, to: shape.kernelHeight, by: rows).map {
                    Unit(row: $0, column: 0, rows: rows, columns: shape.kernelWidth, channels: 0..<inputs)
                }
            }
            let pixels = shape.images * shape.outputHeight * shape.outputWidth
            parts = units.count >= 16 ? 1 : max(1, min(ConvolutionKernel.tasks / units.count, pixels / 1024))
        }
    }

    /// Adds up `dyᵀ · windows(x)` over the pixels of each part.
    ///
    /// - Parameter sums: `[parts, outputs, taps · inputs]`, f32; written.
    func weightGradient(_ shape: ConvolutionShape, _ plan: GradientPlan, _ x: Tensor, _ dy: Tensor, into sums: Tensor) {
        let pixels = shape.images * shape.outputHeight * shape.outputWidth, outputs = shape.outputs
        let size = x.type.byteCount
        let pass = shape.forwardPass
        pool.tasks(plan.units.count * plan.parts) { task, thread in
            let unit = plan.units[task / plan.parts], part = task % plan.parts
            let start = pixels * part / plan.parts, end = pixels * (part + 1) / plan.parts
            let columns = unit.rows * unit.columns * unit.channels.count
            let firstColumn =
                (unit.row * shape.kernelWidth + unit.column) * shape.inputs + unit.channels.lowerBound
            let target = MatrixView(sums).slice(
                rows: part * outputs..<(part + 1) * outputs, columns: firstColumn..<firstColumn + columns)
            target.clear()
            var description = Self.windows(pass, of: x)
            description.first_byte = unit.channels.lowerBound * size
            description.tap_bytes = unit.channels.count * size
            description.top += unit.row
            description.left += unit.column
            description.rows = unit.rows
            description.columns = unit.columns
            let chunk = max(256, Self.windowBytes / max(columns * size, 1) / 64 * 64)
            for first in stride(from: start, to: end, by: chunk) {
                let count = min(chunk, end - first)
                let factor: MatrixView
                if shape.isPointwise {
                    factor = MatrixView(x).slice(rows: first..<first + count, columns: unit.channels)
                } else {
                    let memory = windows[thread].take(count * columns * size)
                    tf_gather_windows(x.bytes.baseAddress!, &description, first, count, memory)
                    factor = MatrixView(memory, x.type, rows: count, columns: columns, rowStride: columns)
                }
                matmul.multiplyOnThisThread(
                    MatrixView(dy).slice(rows: first..<first + count).transposed, factor, into: target,
                    accumulate: true)
            }
        }
    }

    /// Adds the sums of all parts to the gradient of a weight.
    func add(_ sums: Tensor, parts: Int, _ shape: ConvolutionShape, to gradient: Tensor) {
        pool.parallel(shape.outputs, grain: max(1, (1 << 14) / (shape.taps * shape.inputs))) { range in
            tf_add_weight_gradient(
                sums.floatPointer, parts, shape.outputs, shape.inputs, shape.taps, gradient.floatPointer,
                range.lowerBound, range.upperBound)
        }
    }
}
