/// `y = x · Wᵀ + b`, with `W` whole or split over the tensor-parallel group.
///
/// Several named weights over the same input (q, k and v; gate and up) are one layer and one product.
package struct Linear {
    /// `.whole`, `.outputs` (each rank makes its slice of y) or `.inputs` (each rank makes a partial sum of y).
    package enum Split {
        case whole, outputs, inputs
    }

    /// Each global `[outputs, inputs]`; its `ShardSpec` says which rows or columns are here.
    let weights: [Parameter]
    let bias: Parameter?
    private let split: Split

    /// - Parameter outputs: Of each of the names.
    package init(
        _ names: [String], inputs: Int, outputs: [Int], split: Split = .whole, hasBias: Bool = false,
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
            names.map { $0 + ".weight" }, outputs.map { [$0, inputs] }, splitAlong: axis,
            .normal(standardDeviation: standardDeviation))
        let initialBias =
            biasDeviation > 0 ? Parameter.Initialization.normal(standardDeviation: biasDeviation) : .zeros
        bias = hasBias ? builder.parameter(names[0] + ".bias", outputs, initialBias) : nil
        precondition(!hasBias || (names.count == 1 && split == .whole), "a bias belongs to one whole weight")
    }

    /// See `TransfusionModel.pack`.
    package func pack(_ context: Context) { context.pack(weights) }

    package func callAsFunction(_ x: Tensor, _ context: Context, result: ElementType? = nil) throws -> Tensor {
        switch split {
        case .whole: context.linear(x, weights, bias: bias, result: result)
        case .outputs: context.linear(try context.enterTensorParallel(x), weights, result: result)
        case .inputs: try context.leaveTensorParallel(context.linear(x, weights, result: result))
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
