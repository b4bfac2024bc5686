/// `y = x · Wᵀ + b`, with `W` whole or split over the tensor-parallel group.
///
/// Several named weights over the same input (q, k and v; gate and up) are one layer and one product.
package struct Linear {
    /// `.whole`, `.outputs` (each rank makes its slice of y) or `.inputs` (each rank makes a partial sum of y).
    package enum Split {
        case whole, outputs, inputs
    }

    /// Each global `[outputs, inputs]`; its `ShardSpec` says which rows or columns are here.
    package let weights: [Parameter]
    /// Of all weights, or of none. Those of a layer that is split by inputs are whole on each rank.
    let biases: [Parameter]
    private let split: Split

    /// - Parameters:
    ///   - outputs: Of each of the names.
    ///   - parts: Into how many parts those of each can be split; as many as there are ranks unless given.
    package init(
        _ names: [String], inputs: Int, outputs: [Int], parts: [Int]? = nil, split: Split = .whole,
        hasBias: Bool = false,
        standardDeviation: Float, biasDeviation: Float = 0, in builder: ParameterBuilder
    ) {
        self.split = split
        let axis: Int? =
            switch split {
            case .whole: nil
            case .outputs: 0
            case .inputs: 1
            }
        weights = builder.adjacent(
            names.map { $0 + ".weight" }, outputs.map { [$0, inputs] }, splitAlong: axis, parts: parts,
            .normal(standardDeviation: standardDeviation))
        let initialBias =
            biasDeviation > 0 ? Parameter.Initialization.normal(standardDeviation: biasDeviation) : .zeros
        biases =
            hasBias
            ? builder.adjacent(
                names.map { $0 + ".bias" }, outputs.map { [$0] }, splitAlong: split == .outputs ? 0 : nil,
                parts: parts, initialBias)
            : []
    }

    /// See `TransfusionModel.pack`.
    package func pack(_ context: Context) { context.pack(weights) }
    /// See `TransfusionModel.quantize`.
    package func quantize(_ context: Context) { context.quantize(weights) }

    package func callAsFunction(_ x: Tensor, _ context: Context, result: ElementType? = nil) throws -> Tensor {
        switch split {
        case .whole: return context.linear(x, weights, biases: biases, result: result)
        case .outputs:
            return context.linear(try context.enterTensorParallel(x), weights, biases: biases, result: result)
        case .inputs:
            let sum =
                context.sumsInHalves
                ? context.linearInHalves(x, weights[0], result: result)
                : try context.leaveTensorParallel(context.linear(x, weights, result: result))
            return biases.isEmpty ? sum : context.addBias(biases[0], to: sum)
        }
    }
}

/// Root-mean-square normalisation of the residual stream, with a learned scale.
package struct RMSNorm {
    let weight: Parameter  // [width], f32
    let epsilon: Float

    package init(_ name: String, width: Int, epsilon: Float, in builder: ParameterBuilder) {
        weight = builder.parameter(name + ".weight", [width], .ones)
        self.epsilon = epsilon
    }

    package func callAsFunction(_ x: Tensor, _ context: Context) -> Tensor {
        context.rmsNorm(x, weight: weight, epsilon: epsilon)
    }
}

/// Normalisation of each head of the queries and of the keys, with a scale for both.
package struct HeadNorm {
    /// What all heads of queries, or of keys, share.
    struct Parameters {
        let weight: Parameter  // [width of a head], f32
        /// Of LayerNorm; nil for RMSNorm.
        let bias: Parameter?  // [width of a head], f32
    }

    let query: Parameters
    let key: Parameters
    let epsilon: Float

    /// - Parameters:
    ///   - name: Of the attention.
    ///   - isLayerNorm: Whether means are taken away and biases added; else it is RMSNorm.
    package init(
        _ name: String, headWidth: Int, isLayerNorm: Bool = false, epsilon: Float, in builder: ParameterBuilder
    ) {
        func parameters(_ name: String) -> Parameters {
            Parameters(
                weight: builder.parameter(name + ".weight", [headWidth], .ones),
                bias: isLayerNorm ? builder.parameter(name + ".bias", [headWidth], .zeros) : nil)
        }
        query = parameters(name + ".q_norm")
        key = parameters(name + ".k_norm")
        self.epsilon = epsilon
    }

    package func callAsFunction(_ queryKeyValue: Tensor, _ heads: AttentionHeads, _ context: Context) -> Tensor {
        context.headNorm(queryKeyValue, heads, query: query, key: key, epsilon: epsilon)
    }
}
