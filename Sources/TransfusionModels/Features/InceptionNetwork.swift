public import TransfusionCore

/// Inception v3 as far as the features that the Fréchet inception distance is defined by: the last pooling layer.
///
/// It is the network of 2015 whose weights pytorch-fid distributes: its average pools leave padding out, and the last block has a
/// maximum pool. Batch normalisation stands behind each convolution as its scale and shift.
/// ### References
/// Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision"; the layers' names are torchvision's.
public final class InceptionNetwork {
    /// The side of the square pictures that it takes.
    public static let side = 299
    /// How many features a picture has.
    public static let width = 2048
    /// What its batch normalisations add to the variance.
    public static let normEpsilon = 1e-3

    /// Of each convolution `NAME.conv.weight`, and the shift behind it as `NAME.conv.bias`.
    public let parameters: ParameterStore
    private let layers: Layers

    /// A network without values: initialise or load `parameters` before use.
    public init(_ context: Context) {
        let builder = ParameterBuilder()
        layers = Layers(in: builder)
        parameters = ParameterStore(builder, type: context.type, allocator: context.allocator, gradients: nil)
    }

    /// The convolutions with the shapes of their weights, `[outputs, inputs, height, width]`, without making the network.
    public static var convolutions: [(name: String, shape: [Int])] {
        let builder = ParameterBuilder()
        _ = Layers(in: builder)
        return builder.groups.joined().filter(\.isMatrix).map {
            (String($0.name.dropLast(".conv.weight".count)), $0.globalShape)
        }
    }

    /// - Parameter pictures: `[images, 299, 299, 3]` in the context's type, red, green, blue in −1 … 1.
    /// - Returns: `[images, 2048]` in the context's type.
    public func features(of pictures: Tensor, _ context: Context) -> Tensor {
        precondition(pictures.shape.dropFirst() == [Self.side, Self.side, 3], "pictures of \(pictures.shape)")
        var x = pictures
        for layer in layers.stem[..<3] { x = layer(x, context) }
        x = context.maxPool(x, size: 3, stride: 2)
        for layer in layers.stem[3...] { x = layer(x, context) }
        x = context.maxPool(x, size: 3, stride: 2)
        for block in layers.blocks { x = block(x, context) }
        return context.averagePool(x, size: x.shape[1], stride: 1).reshaped([x.shape[0], Self.width])
    }

    private struct Layers {
        let stem: [Unit]
        let blocks: [Block]

        init(in builder: ParameterBuilder) {
            stem = [
                Unit("Conv2d_1a_3x3", 3, 32, stride: 2, padding: 0, in: builder),
                Unit("Conv2d_2a_3x3", 32, 32, padding: 0, in: builder), Unit("Conv2d_2b_3x3", 32, 64, in: builder),
                Unit("Conv2d_3b_1x1", 64, 80, 1, in: builder),
                Unit("Conv2d_4a_3x3", 80, 192, padding: 0, in: builder),
            ]
            blocks =
                [("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)].map {
                    Block(wide: "Mixed_\($0)", inputs: $1, pooled: $2, in: builder)
                } + [Block(reducing: "Mixed_6a", inputs: 288, in: builder)]
                + [("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)].map {
                    Block(long: "Mixed_\($0)", channels: $1, in: builder)
                } + [
                    Block(last: "Mixed_7a", in: builder),
                    Block(branching: "Mixed_7b", inputs: 1280, pool: .average, in: builder),
                    Block(branching: "Mixed_7c", inputs: 2048, pool: .largest, in: builder),
                ]
        }
    }
}

/// A convolution, the scale and shift behind it, and ReLU.
private struct Unit {
    private let weight: Parameter  // [outputs, inputs, height, width]
    private let bias: Parameter  // [outputs], f32
    private let stride: Int
    private let padding: ConvolutionPadding

    /// - Parameter padding: On each side; nil keeps the size.
    init(
        _ name: String, _ inputs: Int, _ outputs: Int, _ height: Int = 3, _ width: Int? = nil, stride: Int = 1,
        padding: Int? = nil, in builder: ParameterBuilder
    ) {
        let width = width ?? height
        // Keeps the mean square of what passes through ReLU (He et al. 2015).
        let deviation = (2 / Float(inputs * height * width)).squareRoot()
        weight = builder.parameter(
            name + ".conv.weight", [outputs, inputs, height, width], .normal(standardDeviation: deviation))
        bias = builder.parameter(name + ".conv.bias", [outputs], .zeros)
        self.stride = stride
        let (rows, columns) = (padding ?? height / 2, padding ?? width / 2)
        self.padding = ConvolutionPadding(top: rows, left: columns, bottom: rows, right: columns)
    }

    func callAsFunction(_ x: Tensor, _ context: Context) -> Tensor {
        context.leakyReLU(
            context.convolution(x, weight: weight, bias: bias, stride: stride, padding: padding), slope: 0)
    }
}

/// Branches whose channels are put side by side.
private struct Block {
    enum Pool {
        case average
        case largest
        /// Of half the size.
        case reducing
    }

    /// Layers one after the other; where it ends in several ends, each of them reads the layer before.
    private struct Branch {
        var layers: [Unit]
        var ends: [Unit] = []
    }

    private let branches: [Branch]
    private let pool: Pool
    /// What follows on the pool; nil takes the pool itself.
    private let pooled: Unit?

    /// A of the paper's appendix: 35 × 35 pixels.
    init(wide name: String, inputs: Int, pooled width: Int, in builder: ParameterBuilder) {
        func unit(_ branch: String, _ inputs: Int, _ outputs: Int, _ size: Int = 3) -> Unit {
            Unit("\(name).\(branch)", inputs, outputs, size, in: builder)
        }
        branches = [
            Branch(layers: [unit("branch1x1", inputs, 64, 1)]),
            Branch(layers: [unit("branch5x5_1", inputs, 48, 1), unit("branch5x5_2", 48, 64, 5)]),
            Branch(layers: [
                unit("branch3x3dbl_1", inputs, 64, 1), unit("branch3x3dbl_2", 64, 96), unit("branch3x3dbl_3", 96, 96),
            ]),
        ]
        pool = .average
        pooled = unit("branch_pool", inputs, width, 1)
    }

    /// From 35 × 35 pixels to 17 × 17.
    init(reducing name: String, inputs: Int, in builder: ParameterBuilder) {
        branches = [
            Branch(layers: [Unit(name + ".branch3x3", inputs, 384, stride: 2, padding: 0, in: builder)]),
            Branch(layers: [
                Unit(name + ".branch3x3dbl_1", inputs, 64, 1, in: builder),
                Unit(name + ".branch3x3dbl_2", 64, 96, in: builder),
                Unit(name + ".branch3x3dbl_3", 96, 96, stride: 2, padding: 0, in: builder),
            ]),
        ]
        pool = .reducing
        pooled = nil
    }

    /// Kernels of one row and one column in turn, over 17 × 17 pixels.
    init(long name: String, channels: Int, in builder: ParameterBuilder) {
        func unit(_ branch: String, _ inputs: Int, _ outputs: Int, _ height: Int, _ width: Int) -> Unit {
            Unit("\(name).\(branch)", inputs, outputs, height, width, in: builder)
        }
        branches = [
            Branch(layers: [unit("branch1x1", 768, 192, 1, 1)]),
            Branch(layers: [
                unit("branch7x7_1", 768, channels, 1, 1), unit("branch7x7_2", channels, channels, 1, 7),
                unit("branch7x7_3", channels, 192, 7, 1),
            ]),
            Branch(layers: [
                unit("branch7x7dbl_1", 768, channels, 1, 1), unit("branch7x7dbl_2", channels, channels, 7, 1),
                unit("branch7x7dbl_3", channels, channels, 1, 7), unit("branch7x7dbl_4", channels, channels, 7, 1),
                unit("branch7x7dbl_5", channels, 192, 1, 7),
            ]),
        ]
        pool = .average
        pooled = unit("branch_pool", 768, 192, 1, 1)
    }

    /// From 17 × 17 pixels to 8 × 8.
    init(last name: String, in builder: ParameterBuilder) {
        branches = [
            Branch(layers: [
                Unit(name + ".branch3x3_1", 768, 192, 1, in: builder),
                Unit(name + ".branch3x3_2", 192, 320, stride: 2, padding: 0, in: builder),
            ]),
            Branch(layers: [
                Unit(name + ".branch7x7x3_1", 768, 192, 1, in: builder),
                Unit(name + ".branch7x7x3_2", 192, 192, 1, 7, in: builder),
                Unit(name + ".branch7x7x3_3", 192, 192, 7, 1, in: builder),
                Unit(name + ".branch7x7x3_4", 192, 192, stride: 2, padding: 0, in: builder),
            ]),
        ]
        pool = .reducing
        pooled = nil
    }

    /// Branches that branch again, over 8 × 8 pixels.
    init(branching name: String, inputs: Int, pool: Pool, in builder: ParameterBuilder) {
        func unit(_ branch: String, _ inputs: Int, _ outputs: Int, _ height: Int, _ width: Int) -> Unit {
            Unit("\(name).\(branch)", inputs, outputs, height, width, in: builder)
        }
        branches = [
            Branch(layers: [unit("branch1x1", inputs, 320, 1, 1)]),
            Branch(
                layers: [unit("branch3x3_1", inputs, 384, 1, 1)],
                ends: [unit("branch3x3_2a", 384, 384, 1, 3), unit("branch3x3_2b", 384, 384, 3, 1)]),
            Branch(
                layers: [unit("branch3x3dbl_1", inputs, 448, 1, 1), unit("branch3x3dbl_2", 448, 384, 3, 3)],
                ends: [unit("branch3x3dbl_3a", 384, 384, 1, 3), unit("branch3x3dbl_3b", 384, 384, 3, 1)]),
        ]
        self.pool = pool
        pooled = unit("branch_pool", inputs, 192, 1, 1)
    }

    func callAsFunction(_ x: Tensor, _ context: Context) -> Tensor {
        var parts = branches.flatMap { branch -> [Tensor] in
            let y = branch.layers.reduce(x) { $1($0, context) }
            return branch.ends.isEmpty ? [y] : branch.ends.map { $0(y, context) }
        }
        let surroundings =
            switch pool {
            case .average: context.averagePool(x, size: 3, stride: 1, padding: 1, countsPadding: false)
            case .largest: context.maxPool(x, size: 3, stride: 1, padding: 1)
            case .reducing: context.maxPool(x, size: 3, stride: 2)
            }
        parts.append(pooled?(surroundings, context) ?? surroundings)
        return context.concatenated(parts)
    }
}
