/// A convolution with a bias over pictures `[images, height, width, channels]`.
package struct Convolution {
    package let weight: Parameter  // [outputs, inputs, kernel, kernel]
    package let bias: Parameter  // [outputs], f32
    private let stride: Int
    private let padding: ConvolutionPadding

    /// - Parameters:
    ///   - kernel: Rows and columns of the kernel; nil makes a pointwise one whose weight is a matrix `[outputs, inputs]`.
    package init(
        _ name: String, inputs: Int, outputs: Int, kernel: Int?, stride: Int = 1,
        padding: ConvolutionPadding = ConvolutionPadding(0), in builder: ParameterBuilder
    ) {
        let taps = (kernel ?? 1) * (kernel ?? 1)
        // As wide as PyTorch's uniform numbers within 1 / √(inputs · taps).
        let deviation = 1 / Float(3 * inputs * taps).squareRoot()
        weight = builder.parameter(
            name + ".weight", [outputs, inputs] + (kernel.map { [$0, $0] } ?? []),
            .normal(standardDeviation: deviation))
        bias = builder.parameter(name + ".bias", [outputs], .zeros)
        self.stride = stride
        self.padding = padding
    }

    /// - Parameter residual: What the result is added to, or nil.
    package func callAsFunction(_ x: Tensor, _ context: Context, addingTo residual: Tensor? = nil) -> Tensor {
        context.convolution(x, weight: weight, bias: bias, stride: stride, padding: padding, addingTo: residual)
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
