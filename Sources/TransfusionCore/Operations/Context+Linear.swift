internal import CKernels

extension Context {
    /// `y = x · Wᵀ + b`, with the weights of several layers over the same input as one product.
    ///
    /// - Parameters:
    ///   - x: `[rows, inputs]` in the context's type.
    ///   - weights: Each `[outputs, inputs]`, adjacent in memory (`ParameterBuilder.adjacent`).
    ///   - biases: Each `[outputs]` in f32, adjacent in memory: one for each weight, or none.
    ///   - result: The type of the result; the context's unless given. Sums are f32 in any case.
    /// - Returns: `[rows, sum of outputs]`.
    package func linear(
        _ x: Tensor, _ weights: [Parameter], biases: [Parameter] = [], result: ElementType? = nil
    ) -> Tensor {
        if let quantized = weights[0].quantized, !isRecording {
            let y = empty([x.rows, quantized.outputs], result)
            multiply(x, quantized, into: y)
            if !biases.isEmpty { addBias(Self.joinedVectors(biases.map(\.value)), to: y) }
            return y
        }
        let weight = Self.joined(weights.map(\.value))
        let y = empty([x.rows, weight.rows], result)
        let factor =
            weights[0].isPacked ? MatrixView(transposeOfPacked: weight) : MatrixView(weight).transposed
        multiply(MatrixView(x), factor, into: MatrixView(y))
        let operations = 2 * Double(x.rows) * weights.reduce(0) { $0 + Double($1.globalCount) }
        count(operations)
        if !biases.isEmpty { addBias(Self.joinedVectors(biases.map(\.value)), to: y) }
        return record(y) { [self] dy, gradients in
            let dy = converted(dy, to: type)
            let trainsWeights = weights.allSatisfy { $0.gradient != nil }
            let trainsBiases = !biases.isEmpty && biases.allSatisfy { $0.gradient != nil }
            if trainsWeights { count(operations) }
            if weights.contains(where: { $0.shard.replicas > 1 }) {
                try addGradientsOverReplicas(
                    dy, x, weights: trainsWeights ? weights : [], biases: trainsBiases ? biases : [])
            } else {
                if trainsWeights {
                    let dweight = Self.joined(weights.compactMap(\.gradient))
                    multiply(MatrixView(dy).transposed, MatrixView(x), into: MatrixView(dweight), accumulate: true)
                    weights.forEach { parameterIsReady?($0) }
                }
                if trainsBiases {
                    addColumnSums(of: dy, to: Self.joinedVectors(biases.compactMap(\.gradient)))
                    biases.forEach { parameterIsReady?($0) }
                }
            }
            let dx = empty(x.shape)
            multiply(MatrixView(dy), MatrixView(weight), into: MatrixView(dx))
            count(operations)
            gradients.add(dx, to: x)
        }
    }

    /// The gradients of weights and biases of which several ranks hold the same part: heads of keys that more ranks share than
    /// there are heads. Each has met only what its own heads of queries made of them, so these ranks add up theirs.
    private func addGradientsOverReplicas(
        _ dy: Tensor, _ x: Tensor, weights: [Parameter], biases: [Parameter]
    ) throws {
        var found: [(parameter: Parameter, gradient: Tensor)] = []
        if !weights.isEmpty {
            let dweight = empty([dy.width, x.width], .f32)
            multiply(MatrixView(dy).transposed, MatrixView(x), into: MatrixView(dweight))
            found += Self.cut(dweight, among: weights)
        }
        if !biases.isEmpty {
            let sums = empty([dy.width], .f32)
            sums.fill(0)
            addColumnSums(of: dy, to: sums)
            found += Self.cut(sums, among: biases)
        }
        // One message: the whole parameters, to which each rank adds what it has of its part.
        let shared = found.filter { $0.parameter.shard.replicas > 1 }
        let whole = empty([shared.reduce(0) { $0 + $1.parameter.globalCount }], .f32)
        whole.fill(0)
        var start = 0
        let sums = shared.map { parameter, gradient in
            let own = whole.view(at: start + parameter.shard.index * parameter.count, parameter.shape)
            start += parameter.globalCount
            copy(gradient, at: 0, to: own, at: 0, count: gradient.count)
            return (parameter: parameter, gradient: own)
        }
        try tensorParallel.allReduceSum(whole.f32, site: "gradients of shared heads")
        for (parameter, gradient) in found.filter({ $0.parameter.shard.replicas == 1 }) + sums {
            if let sum = parameter.gradient { accumulate(gradient, into: sum) }
            parameterIsReady?(parameter)
        }
    }

    /// What each of the parameters, which lie beside each other, has of a tensor that lies like them.
    private static func cut(
        _ tensor: Tensor, among parameters: [Parameter]
    ) -> [(parameter: Parameter, gradient: Tensor)] {
        var start = 0
        return parameters.map { parameter in
            defer { start += parameter.count }
            return (parameter, tensor.view(at: start, parameter.shape))
        }
    }

    /// Puts adjacent weights in the order in which `linear` reads them, where that is of use; nothing else can read them then.
    func pack(_ weights: [Parameter]) {
        let isPacked = matmul.pack(Self.joined(weights.map(\.value)))
        for weight in weights { weight.isPacked = isPacked }
    }

    /// Adjacent matrices as one.
    static func joined(_ parts: [Tensor]) -> Tensor {
        parts.count == 1 ? parts[0] : parts[0].view(at: 0, [parts.reduce(0) { $0 + $1.rows }, parts[0].width])
    }

    /// Adjacent vectors as one.
    private static func joinedVectors(_ parts: [Tensor]) -> Tensor {
        parts.count == 1 ? parts[0] : parts[0].view(at: 0, [parts.reduce(0) { $0 + $1.count }])
    }

    /// Adds a bias to the sum that ranks have made together, in place: each rank to the rows that it has of it.
    func addBias(_ bias: Parameter, to sum: Tensor) -> Tensor {
        addBias(bias.value, to: sum)
        let rowsAreShared = rowOffsets != nil
        return record(sum.reshaped(sum.shape)) { [self] dy, gradients in
            if let dbias = bias.gradient {
                try addColumnSums(of: dy, to: dbias, overRanks: rowsAreShared, site: "gradient of a bias")
                parameterIsReady?(bias)
            }
            gradients.add(dy, to: sum)
        }
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
    /// The same for the gradient of a vector that all ranks have.
    ///
    /// - Parameter overRanks: Whether each rank has met only a part of what the vector was used for.
    func addColumnSums(of x: Tensor, to sums: Tensor, overRanks: Bool, site: StaticString) throws {
        guard overRanks, tensorParallel.size > 1 else { return addColumnSums(of: x, to: sums) }
        let all = empty(sums.shape, .f32)
        all.fill(0)
        addColumnSums(of: x, to: all)
        try tensorParallel.allReduceSum(all.f32, site: site)
        accumulate(all, into: sums)
    }
}
