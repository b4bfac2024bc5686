/// A convolution over pictures `[images, height, width, channels]`, with a bias or without.
package struct Convolution {
    package let weight: Parameter  // [outputs, inputs, kernel, kernel]
    package let bias: Parameter?  // [outputs], f32
    private let stride: Int
    private let padding: ConvolutionPadding

    /// - Parameters:
    ///   - kernel: Rows and columns of the kernel; nil makes a pointwise one whose weight is a matrix `[outputs, inputs]`.
    ///   - standardDeviation: Of the initial weights; nil takes one as wide as PyTorch's uniform numbers within
    ///     1 / √(inputs · taps).
    package init(
        _ name: String, inputs: Int, outputs: Int, kernel: Int?, stride: Int = 1,
        padding: ConvolutionPadding = ConvolutionPadding(0), hasBias: Bool = true, standardDeviation: Float? = nil,
        in builder: ParameterBuilder
    ) {
        let taps = (kernel ?? 1) * (kernel ?? 1)
        let deviation = standardDeviation ?? 1 / Float(3 * inputs * taps).squareRoot()
        weight = builder.parameter(
            name + ".weight", [outputs, inputs] + (kernel.map { [$0, $0] } ?? []),
            .normal(standardDeviation: deviation))
        bias = hasBias ? builder.parameter(name + ".bias", [outputs], .zeros) : nil
        self.stride = stride
        self.padding = padding
    }

    /// - Parameter residual: What the result is added to, or nil.
    package func callAsFunction(_ x: Tensor, _ context: Context, addingTo residual: Tensor? = nil) -> Tensor {
        context.convolution(x, weight: weight, bias: bias, stride: stride, padding: padding, addingTo: residual)
    }

    /// The gradient that the weight gets from that of a result, by itself: `[outputs, inputs, kernel, kernel]`, f32.
    package func weightGradient(_ x: Tensor, _ dy: Tensor, _ context: Context) -> Tensor {
        context.convolutionWeightGradient(x, dy, of: weight, stride: stride, padding: padding)
    }
}

/// Normalisation of groups of channels over a picture, with a learned scale and shift.
package struct GroupNorm {
    let weight: Parameter  // [channels], f32
    let bias: Parameter  // [channels], f32
    private let groups: Int
    private let epsilon: Float

    package init(_ name: String, channels: Int, groups: Int, epsilon: Float, in builder: ParameterBuilder) {
        weight = builder.parameter(name + ".weight", [channels], .ones)
        bias = builder.parameter(name + ".bias", [channels], .zeros)
        self.groups = groups
        self.epsilon = epsilon
    }

    package func callAsFunction(_ x: Tensor, _ context: Context, silu: Bool = false) -> Tensor {
        context.groupNorm(x, weight: weight, bias: bias, groups: groups, epsilon: epsilon, silu: silu)
    }
}

/// Normalisation of each channel over a batch, with a learned scale and shift.
package struct BatchNorm {
    package let weight: Parameter  // [channels], f32
    package let bias: Parameter  // [channels], f32
    /// Added to the variance, as PyTorch does.
    package static let epsilon: Float = 1e-5

    package init(_ name: String, channels: Int, in builder: ParameterBuilder) {
        weight = builder.parameter(name + ".weight", [channels], .ones)
        bias = builder.parameter(name + ".bias", [channels], .zeros)
    }

    package func callAsFunction(_ x: Tensor, _ statistics: BatchStatistics, _ context: Context) -> Tensor {
        context.batchNorm(x, weight: weight, bias: bias, statistics)
    }
}
