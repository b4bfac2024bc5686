internal import CKernels

extension Context {
    /// `y = silu(gate) · up` for rows of `[gate | up]`.
    ///
    /// - Parameter gateUp: `[rows, 2 · width]` in the context's type.
    /// - Returns: `[rows, width]`.
    /// ### References
    /// Shazeer 2020, "GLU variants improve transformer", equation 6.
    package func swiGLU(_ gateUp: Tensor) -> Tensor {
        let width = gateUp.width / 2
        let y = empty([gateUp.rows, width])
        parallel(gateUp.rows, grain: Self.rowGrain(width)) { rows in
            let from = rows.lowerBound * 2 * width, to = rows.lowerBound * width
            switch type {
            case .f32: tf_swiglu_forward_f32(gateUp.floatPointer + from, y.floatPointer + to, rows.count, width)
            default: tf_swiglu_forward_bf16(gateUp.halfPointer + from, y.halfPointer + to, rows.count, width)
            }
        }
        return record(y) { [self] dy, gradients in
            // Nobody needs gate and up after this, so their gradient takes their place.
            parallel(gateUp.rows, grain: Self.rowGrain(width)) { rows in
                let wide = rows.lowerBound * 2 * width, narrow = rows.lowerBound * width
                switch type {
                case .f32:
                    let values = gateUp.floatPointer + wide
                    tf_swiglu_backward_f32(dy.floatPointer + narrow, values, values, rows.count, width)
                default:
                    let values = gateUp.halfPointer + wide
                    tf_swiglu_backward_bf16(dy.halfPointer + narrow, values, values, rows.count, width)
                }
            }
            gradients.add(gateUp.reshaped(gateUp.shape), to: gateUp)
        }
    }

    /// `y = x · sigmoid(x)`, element-wise.
    package func silu(_ x: Tensor) -> Tensor {
        let y = empty(x.shape)
        compute {
            switch type {
            case .f32: tf_silu_forward_f32(x.floatPointer, y.floatPointer, x.count)
            default: tf_silu_forward_bf16(x.halfPointer, y.halfPointer, x.count)
            }
        }
        return record(y) { [self] dy, gradients in
            let dx = empty(x.shape)
            compute {
                switch type {
                case .f32: tf_silu_backward_f32(dy.floatPointer, x.floatPointer, dx.floatPointer, x.count)
                default: tf_silu_backward_bf16(dy.halfPointer, x.halfPointer, dx.halfPointer, x.count)
                }
            }
            gradients.add(dx, to: x)
        }
    }

    /// `y = x`, and `slope · x` where x is negative; ReLU with a slope of 0.
    package func leakyReLU(_ x: Tensor, slope: Float) -> Tensor {
        let y = empty(x.shape)
        parallel(x.count, grain: Self.grain) { range in
            let start = range.lowerBound
            switch type {
            case .f32: tf_leaky_relu_forward_f32(x.floatPointer + start, slope, y.floatPointer + start, range.count)
            default: tf_leaky_relu_forward_bf16(x.halfPointer + start, slope, y.halfPointer + start, range.count)
            }
        }
        return record(y) { [self] dy, gradients in
            let dx = empty(x.shape)
            parallel(x.count, grain: Self.grain) { range in
                let start = range.lowerBound
                switch type {
                case .f32:
                    tf_leaky_relu_backward_f32(
                        dy.floatPointer + start, x.floatPointer + start, slope, dx.floatPointer + start, range.count)
                default:
                    tf_leaky_relu_backward_bf16(
                        dy.halfPointer + start, x.halfPointer + start, slope, dx.halfPointer + start, range.count)
                }
            }
            gradients.add(dx, to: x)
        }
    }

    /// `x` in another type, with its gradient converted back.
    package func cast(_ x: Tensor, to type: ElementType) -> Tensor {
        guard x.type != type else { return x }
        return record(converted(x, to: type)) { [self] dy, gradients in
            gradients.add(converted(dy, to: x.type), to: x)
        }
    }

    /// The residual stream after a branch: `y = x + branch`.
    ///
    /// - Parameters:
    ///   - x: `[rows, width]`, f32.
    ///   - branch: The same shape, in the context's type.
    /// - Returns: f32.
    package func add(_ x: Tensor, _ branch: Tensor) -> Tensor {
        let y = empty(x.shape, .f32)
        parallel(x.count, grain: Self.grain) { range in
            let start = range.lowerBound
            let xs = x.floatPointer + start, ys = y.floatPointer + start
            switch branch.type {
            case .f32: tf_add_f32(xs, branch.floatPointer + start, ys, range.count)
            default: tf_add_bf16(xs, branch.halfPointer + start, ys, range.count)
            }
        }
        return record(y) { [self] dy, gradients in
            gradients.add(converted(dy, to: branch.type), to: branch)
            gradients.add(dy, to: x)
        }
    }
}
