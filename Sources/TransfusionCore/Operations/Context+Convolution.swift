internal import CKernels

extension Context {
    /// A convolution (cross-correlation, as everywhere in machine learning) over pictures.
    ///
    /// `y[n, i, j, o] = bias[o] + Σ weight[o, c, u, v] · x[n, stride · i + u − top, stride · j + v − left, c] + residual[n, i, j, o]`
    /// - Parameters:
    ///   - x: `[images, height, width, inputs]` in the context's type.
    ///   - weight: `[outputs, inputs, kernel height, kernel width]`, the order of files; or `[outputs, inputs]`.
    ///   - bias: `[outputs]`, f32, or nil.
    ///   - residual: What the branch that ends here is added to, of the result's shape and the context's type, or nil.
    /// - Returns: `[images, output height, output width, outputs]`, rounded once.
    /// ### References
    /// Chellapilla, Puri and Simard 2006, "High performance convolutional neural networks for document processing": windows as
    /// rows of a matrix.
    package func convolution(
        _ x: Tensor, weight: Parameter, bias: Parameter? = nil, stride: Int = 1,
        padding: ConvolutionPadding = ConvolutionPadding(0), addingTo residual: Tensor? = nil
    ) -> Tensor {
        let shape = ConvolutionShape(pictures: x.shape, weight: weight.shape, stride: stride, padding: padding)
        precondition(x.type == type && weight.value.type == type, "a convolution of \(x.type) in \(type)")
        precondition(residual == nil || residual?.shape == shape.result && residual?.type == type)
        let y = empty(shape.result)
        run(shape.forwardPass, x, weight.value, turned: false, bias: bias?.value, addend: residual, into: y)
        count(shape.operations)
        return record(y) { [self] dy, gradients in
            precondition(dy.type == type, "a gradient of \(dy.type) in \(type)")
            if let residual { gradients.add(dy, to: residual) }
            if let dweight = weight.gradient {
                addWeightGradient(shape, x, dy, to: dweight)
                parameterIsReady?(weight)
            }
            if let bias, let dbias = bias.gradient {
                addSums(ofPixels: dy, to: dbias)
                parameterIsReady?(bias)
            }
            gradients.update(x, type) { dx, holdsSum in
                for pass in shape.backwardPasses {
                    run(pass, dy, weight.value, turned: true, bias: nil, addend: holdsSum ? dx : nil, into: dx)
                }
            }
            count(shape.operations)
        }
    }

    /// The gradient of a convolution's weight, from that of its result, without adding it to the weight's own: of the weight's
    /// shape, f32.
    package func convolutionWeightGradient(
        _ x: Tensor, _ dy: Tensor, of weight: Parameter, stride: Int, padding: ConvolutionPadding
    ) -> Tensor {
        let gradient = empty(weight.shape, .f32)
        compute { gradient.fill(0) }
        addWeightGradient(
            ConvolutionShape(pictures: x.shape, weight: weight.shape, stride: stride, padding: padding), x, dy,
            to: gradient)
        return gradient
    }

    private func addWeightGradient(_ shape: ConvolutionShape, _ x: Tensor, _ dy: Tensor, to gradient: Tensor) {
        let plan = ConvolutionKernel.GradientPlan(shape)
        let sums = empty([plan.parts, shape.outputs, shape.taps * shape.inputs], .f32)
        compute {
            convolutionKernel.weightGradient(shape, plan, x, dy, into: sums)
            convolutionKernel.add(sums, parts: plan.parts, shape, to: gradient)
        }
        count(shape.operations)
    }

    private func run(
        _ pass: ConvolutionShape.Pass, _ source: Tensor, _ weight: Tensor, turned: Bool, bias: Tensor?,
        addend: Tensor?, into target: Tensor
    ) {
        let matrix = empty([target.width, pass.order.count * source.width])
        compute {
            let weights = convolutionKernel.prepare(weight, order: pass.order, turned: turned, into: matrix)
            convolutionKernel.run(pass, source, weights, bias: bias, addend: addend, into: target)
        }
    }

    /// `sums[c] += Σ x[·, c]`, in parts of so many pixels whatever the number of threads, so that bits do not depend on it.
    func addSums(ofPixels x: Tensor, to sums: Tensor) {
        let run = Self.pixelRun(x.width), runs = max(1, (x.rows + run - 1) / run), width = x.width
        let parts = empty([runs, width], .f32)
        parts.fill(0)
        tasks(runs) { task in
            let first = task * run, count = min(run, x.rows - first), to = parts.floatPointer + task * width
            switch x.type {
            case .f32: tf_column_sums_f32(x.floatPointer + first * width, to, count, width)
            default: tf_column_sums_bf16(x.halfPointer + first * width, to, count, width)
            }
        }
        addColumnSums(of: parts, to: sums)
    }

    /// Pixels of `width` channels that passes over pictures take at a time.
    static func pixelRun(_ width: Int) -> Int { max(1, (1 << 15) / max(width, 1)) }
}
