internal import CKernels

extension Context {
    /// `y = x · Wᵀ + b`, with the weights of several layers over the same input as one product.
    ///
    /// - Parameters:
    ///   - x: `[rows, inputs]` in the context's type.
    ///   - weights: Each `[outputs, inputs]`, adjacent in memory (`ParameterBuilder.adjacent`).
    ///   - bias: `[outputs]` in f32, or nil. Only with one weight.
    ///   - result: The type of the result; the context's unless given. Sums are f32 in any case.
    /// - Returns: `[rows, sum of outputs]`.
    package func linear(_ x: Tensor, _ weights: [Parameter], bias: Parameter? = nil, result: ElementType? = nil)
        -> Tensor
    {
        let weight = Self.joined(weights.map(\.value))
        let y = empty([x.rows, weight.rows], result)
        let factor =
            weights[0].isPacked ? MatrixView(transposeOfPacked: weight) : MatrixView(weight).transposed
        multiply(MatrixView(x), factor, into: MatrixView(y))
        let operations = 2 * Double(x.rows) * weights.reduce(0) { $0 + Double($1.globalCount) }
        count(operations)
        if let bias { addBias(bias.value, to: y) }
        return record(y) { [self] dy, gradients in
            let dy = converted(dy, to: type)
            if weights.allSatisfy({ $0.gradient != nil }) {
                let dweight = Self.joined(weights.compactMap(\.gradient))
                multiply(MatrixView(dy).transposed, MatrixView(x), into: MatrixView(dweight), accumulate: true)
                count(operations)
                if let bias, let dbias = bias.gradient { addColumnSums(of: dy, to: dbias) }
                weights.forEach { parameterIsReady?($0) }
                if let bias { parameterIsReady?(bias) }
            }
            let dx = empty(x.shape)
            multiply(MatrixView(dy), MatrixView(weight), into: MatrixView(dx))
            count(operations)
            gradients.add(dx, to: x)
        }
    }

    /// Puts adjacent weights in the order in which `linear` reads them, where that is of use; nothing else can read them then.
    func pack(_ weights: [Parameter]) {
        let isPacked = matmul.pack(Self.joined(weights.map(\.value)))
        for weight in weights { weight.isPacked = isPacked }
    }

    /// Adjacent matrices as one.
    private static func joined(_ parts: [Tensor]) -> Tensor {
        parts.count == 1 ? parts[0] : parts[0].view(at: 0, [parts.reduce(0) { $0 + $1.rows }, parts[0].width])
    }

    private func addBias(_ bias: Tensor, to y: Tensor) {
        let width = y.width
        parallel(y.rows, grain: Self.rowGrain(width)) { rows in
            let start = rows.lowerBound * width
            switch y.type {
            case .f32: tf_add_bias_f32(y.floatPointer + start, bias.floatPointer, rows.count, width)
            default: tf_add_bias_bf16(y.halfPointer + start, bias.floatPointer, rows.count, width)
            }
        }
    }

    /// `sums[c] += Σ_r x[r, c]`, on one thread: biases belong to the small layers only.
    func addColumnSums(of x: Tensor, to sums: Tensor) {
        compute {
            switch x.type {
            case .f32: tf_column_sums_f32(x.floatPointer, sums.floatPointer, x.rows, x.width)
            default: tf_column_sums_bf16(x.halfPointer, sums.floatPointer, x.rows, x.width)
            }
        }
    }
}
