public import TransfusionCore

/// The sizes of one of CLIP's two transformers.
public struct CLIPTowerSizes: Sendable, Equatable {
    public var layers: Int
    public var width: Int
    public var heads: Int
    public var feedForward: Int
    public var epsilon: Float

    public init(layers: Int, width: Int, heads: Int, feedForward: Int, epsilon: Float = 1e-5) {
        (self.layers, self.width, self.heads, self.feedForward) = (layers, width, heads, feedForward)
        self.epsilon = epsilon
    }
}

/// The sizes of a CLIP model.
public struct CLIPConfiguration: Sendable, Equatable {
    public var vision: CLIPTowerSizes
    public var text: CLIPTowerSizes
    /// The side of the square pictures that it sees, and of its patches.
    public var imageSize: Int
    public var patchSize: Int
    public var vocabulary: Int
    /// Tokens of the longest text, its two markers included.
    public var contextLength: Int
    /// The width that pictures and texts meet in.
    public var projection: Int

    public init(
        vision: CLIPTowerSizes, text: CLIPTowerSizes, imageSize: Int, patchSize: Int, vocabulary: Int,
        contextLength: Int, projection: Int
    ) {
        (self.vision, self.text) = (vision, text)
        (self.imageSize, self.patchSize) = (imageSize, patchSize)
        (self.vocabulary, self.contextLength, self.projection) = (vocabulary, contextLength, projection)
    }

    var patchesPerSide: Int { imageSize / patchSize }
    /// Rows of a picture: one that stands for all of it, and its patches.
    var imageRows: Int { patchesPerSide * patchesPerSide + 1 }
}

/// Two transformers that give pictures and texts vectors in one space, close to each other where they go together.
///
/// ### References
/// Radford et al. 2021, "Learning transferable visual models from natural language supervision"; names and shapes are those of Hugging
/// Face's `CLIPModel`.
public final class CLIPNetwork {
    public let configuration: CLIPConfiguration
    public let parameters: ParameterStore
    private let layers: Layers

    /// QuickGELU is x·σ(1.702·x) = silu(1.702·x) / 1.702: weights before it carry the factor, and those behind it its inverse.
    public static func scale(of parameter: String) -> Float {
        if parameter.contains(".mlp.fc1.") { return quickGELU }
        return parameter.hasSuffix(".mlp.fc2.weight") ? 1 / quickGELU : 1
    }
    private static let quickGELU: Float = 1.702

    /// A network without values: load `parameters` before use, each times `scale(of:)`.
    public init(_ configuration: CLIPConfiguration, _ context: Context) {
        self.configuration = configuration
        let builder = ParameterBuilder()
        layers = Layers(configuration, in: builder)
        parameters = ParameterStore(builder, type: context.type, allocator: context.allocator, gradients: nil)
    }

    /// The name and shape of every parameter, without making the network.
    public static func shapes(_ configuration: CLIPConfiguration) -> [(name: String, shape: [Int])] {
        let builder = ParameterBuilder()
        _ = Layers(configuration, in: builder)
        return builder.groups.joined().map { ($0.name, $0.globalShape) }
    }

    private struct Layers {
        let patches: Parameter
        let wholePicture: Parameter
        let imagePositions: Parameter
        let norms: (before: GroupNorm, after: GroupNorm, text: GroupNorm)
        let vision: [Block]
        let tokens: Parameter
        let textPositions: Parameter
        let text: [Block]
        let projections: (image: Linear, text: Linear)

        init(_ sizes: CLIPConfiguration, in builder: ParameterBuilder) {
            // Never trained here: what it begins with does not matter.
            let initial = Parameter.Initialization.normal(standardDeviation: 0.02)
            let images = "vision_model.embeddings", texts = "text_model.embeddings"
            let (visionWidth, textWidth) = (sizes.vision.width, sizes.text.width)
            patches = builder.parameter(
                images + ".patch_embedding.weight", [visionWidth, 3, sizes.patchSize, sizes.patchSize], initial)
            wholePicture = builder.parameter(images + ".class_embedding", [visionWidth], initial)
            imagePositions = builder.parameter(
                images + ".position_embedding.weight", [sizes.imageRows, visionWidth], initial)
            func norm(_ name: String, _ tower: CLIPTowerSizes) -> GroupNorm {
                GroupNorm(name, channels: tower.width, groups: 1, epsilon: tower.epsilon, in: builder)
            }
            // Spelled so in the files.
            norms = (
                norm("vision_model.pre_layrnorm", sizes.vision), norm("vision_model.post_layernorm", sizes.vision),
                norm("text_model.final_layer_norm", sizes.text)
            )
            vision = (0..<sizes.vision.layers).map {
                Block("vision_model.encoder.layers.\($0)", sizes.vision, in: builder)
            }
            tokens = builder.parameter(texts + ".token_embedding.weight", [sizes.vocabulary, textWidth], initial)
            textPositions = builder.parameter(
                texts + ".position_embedding.weight", [sizes.contextLength, textWidth], initial)
            text = (0..<sizes.text.layers).map { Block("text_model.encoder.layers.\($0)", sizes.text, in: builder) }
            func projection(_ name: String, _ width: Int) -> Linear {
                Linear([name], inputs: width, outputs: [sizes.projection], standardDeviation: 0.02, in: builder)
            }
            projections = (projection("visual_projection", visionWidth), projection("text_projection", textWidth))
        }
    }

    /// - Parameter pictures: `[images, side, side, 3]`, f32, normalised as the model wants it.
    /// - Returns: `[images, projection]`, of any length.
    public func embeddings(ofPictures pictures: Tensor, _ context: Context) throws -> Tensor {
        let images = pictures.shape[0], rows = configuration.imageRows, width = configuration.vision.width
        let patches = context.convolution(pictures, weight: layers.patches, stride: configuration.patchSize)
        let x = Tensor([images * rows, width], .f32, allocator: context.allocator)
        let positions = layers.imagePositions.value.f32
        for row in 0..<images * rows {
            let (image, place) = row.quotientAndRemainder(dividingBy: rows)
            for column in 0..<width {
                let content =
                    place == 0
                    ? layers.wholePicture.value.f32[column]
                    : patches.f32[(image * (rows - 1) + place - 1) * width + column]
                x.f32[row * width + column] = content + positions[place * width + column]
            }
        }
        let starts = (0..<images * rows).map { Int32($0 / rows * rows) }
        let spans = Spans(starts: starts, ends: starts.map { $0 + Int32(rows) })
        let hidden = try run(layers.vision, norm(layers.norms.before, x, context), spans, configuration.vision, context)
        let first = context.gather(hidden, rows: (0..<images).map { Int32($0 * rows) })
        return try layers.projections.image(norm(layers.norms.after, first, context), context)
    }

    /// - Parameter texts: The ids of each, its markers included; the last row of a text stands for all of it.
    /// - Returns: `[texts, projection]`, of any length.
    public func embeddings(ofTexts texts: [[Int32]], _ context: Context) throws -> Tensor {
        let width = configuration.text.width, count = texts.reduce(0) { $0 + $1.count }
        let x = Tensor([count, width], .f32, allocator: context.allocator)
        var starts: [Int32] = [], lasts: [Int32] = []
        for text in texts {
            precondition((1...configuration.contextLength).contains(text.count), "a text of \(text.count) tokens")
            let start = starts.count
            for (place, token) in text.enumerated() {
                for column in 0..<width {
                    x.f32[(start + place) * width + column] =
                        layers.tokens.value.f32[Int(token) * width + column]
                        + layers.textPositions.value.f32[place * width + column]
                }
                starts.append(Int32(start))
            }
            lasts.append(Int32(starts.count - 1))
        }
        let spans = Spans(starts: starts, ends: (0..<Int32(count)).map { $0 + 1 })
        let hidden = try run(layers.text, x, spans, configuration.text, context)
        return try layers.projections.text(
            norm(layers.norms.text, context.gather(hidden, rows: lasts), context), context)
    }

    private func run(
        _ blocks: [Block], _ x: Tensor, _ spans: Spans, _ tower: CLIPTowerSizes, _ context: Context
    ) throws -> Tensor {
        let rows = AttentionRows(
            positions: spans.starts, visibleStart: spans.starts, visibleEnd: spans.ends, cache: nil, slots: [], context)
        return try blocks.reduce(x) { try $1($0, rows, context) }
    }
}

/// The rows that each row sees.
private struct Spans {
    let starts: [Int32]
    let ends: [Int32]
}

/// Layer normalisation: a row is a picture of one pixel, all of whose channels are one group.
private func norm(_ norm: GroupNorm, _ x: Tensor, _ context: Context) -> Tensor {
    norm(x.reshaped([x.rows, 1, 1, x.width]), context).reshaped([x.rows, x.width])
}

/// Attention and a feed-forward layer, each behind a layer normalisation.
private struct Block {
    private let norms: (first: GroupNorm, second: GroupNorm)
    private let queryKeyValue: Linear
    private let output: Linear
    private let up: Linear
    private let down: Linear
    private let heads: AttentionHeads

    init(_ name: String, _ sizes: CLIPTowerSizes, in builder: ParameterBuilder) {
        let width = sizes.width
        func norm(_ part: String) -> GroupNorm {
            GroupNorm("\(name).\(part)", channels: width, groups: 1, epsilon: sizes.epsilon, in: builder)
        }
        func linear(_ parts: [String], _ inputs: Int, _ outputs: Int) -> Linear {
            Linear(
                parts.map { "\(name).\($0)" }, inputs: inputs, outputs: parts.map { _ in outputs }, hasBias: true,
                standardDeviation: 0.02, in: builder)
        }
        norms = (norm("layer_norm1"), norm("layer_norm2"))
        queryKeyValue = linear(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], width, width)
        output = linear(["self_attn.out_proj"], width, width)
        up = linear(["mlp.fc1"], width, sizes.feedForward)
        down = linear(["mlp.fc2"], sizes.feedForward, width)
        heads = AttentionHeads(query: sizes.heads, keyValue: sizes.heads, width: width / sizes.heads)
    }

    func callAsFunction(_ x: Tensor, _ rows: AttentionRows, _ context: Context) throws -> Tensor {
        let projected = try queryKeyValue(norm(norms.first, x, context), context)
        let attended = context.spanAttention(projected, rows, heads, cache: nil)
        let y = context.add(x, try output(attended, context))
        return context.add(y, try down(context.silu(up(norm(norms.second, y, context), context)), context))
    }
}
