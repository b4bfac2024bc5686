import TransfusionCore

/// One Llama block: attention and SwiGLU, each added to the residual stream, with a norm before each or after each.
struct TransformerBlock {
    let attentionNorm: RMSNorm
    let attention: SelfAttention
    let feedForwardNorm: RMSNorm
    let feedForward: FeedForward
    private let norm: ModelConfiguration.NormPlace

    init(_ index: Int, _ configuration: ModelConfiguration, rotary: RotaryTable, in builder: ParameterBuilder) {
        let name = "model.layers.\(index)"
        let epsilon = configuration.rmsNormEpsilon
        attentionNorm = RMSNorm(name + ".input_layernorm", width: configuration.width, epsilon: epsilon, in: builder)
        attention = SelfAttention(name + ".self_attn", index, configuration, rotary: rotary, in: builder)
        feedForwardNorm = RMSNorm(
            name + ".post_attention_layernorm", width: configuration.width, epsilon: epsilon, in: builder)
        feedForward = FeedForward(name + ".mlp", configuration, in: builder)
        norm = configuration.norm
    }

    var linearLayers: [Linear] {
        [attention.queryKeyValue, attention.output, feedForward.gateUp, feedForward.down]
    }

    /// - Parameter x: The residual stream `[rows, width]`, f32. Fewer rows than `rows` has are repeated, once attention
    ///   tells them apart.
    func callAsFunction(_ x: Tensor, _ rows: AttentionRows, _ context: Context) throws -> Tensor {
        let branch = try branch(x, attentionNorm, context) { try attention($0, rows, context) }
        let x = context.add(context.repeated(x, to: branch.rows), branch)
        return context.add(x, try self.branch(x, feedForwardNorm, context) { try feedForward($0, context) })
    }
}

extension TransformerBlock {
    /// What a layer and its norm make of the residual stream, in the context's type.
    private func branch(
        _ x: Tensor, _ layerNorm: RMSNorm, _ context: Context, _ layer: (Tensor) throws -> Tensor
    ) rethrows -> Tensor {
        switch norm {
        case .pre: try layer(layerNorm(x, context))
        case .post: layerNorm(context.cast(try layer(context.cast(x, to: context.type)), to: .f32), context)
        }
    }
}

/// Multi-head attention in which each row sees an interval of rows. Heads of queries may share those of keys and values.
struct SelfAttention {
    let queryKeyValue: Linear
    let output: Linear
    private let norm: HeadNorm?
    private let layer: Int
    private let configuration: ModelConfiguration
    private let rotary: RotaryTable

    init(
        _ name: String, _ layer: Int, _ configuration: ModelConfiguration, rotary: RotaryTable,
        in builder: ParameterBuilder
    ) {
        let queries = configuration.heads * configuration.headWidth
        let keys = configuration.keyValueHeads * configuration.headWidth
        self.layer = layer
        self.rotary = rotary
        self.configuration = configuration
        queryKeyValue = Linear(
            ["q_proj", "k_proj", "v_proj"].map { "\(name).\($0)" }, inputs: configuration.width,
            outputs: [queries, keys, keys],
            parts: [configuration.heads, configuration.keyValueHeads, configuration.keyValueHeads], split: .outputs,
            hasBias: configuration.attentionBias != .none,
            standardDeviation: configuration.initialDeviation, in: builder)
        norm =
            configuration.queryKeyNorm == .none
            ? nil
            : HeadNorm(
                name, headWidth: configuration.headWidth, isLayerNorm: configuration.queryKeyNorm == .layer,
                epsilon: configuration.rmsNormEpsilon, in: builder)
        output = Linear(
            [name + ".o_proj"], inputs: queries, outputs: [configuration.width], split: .inputs,
            hasBias: configuration.attentionBias == .all, standardDeviation: configuration.initialResidualDeviation,
            in: builder)
    }

    func callAsFunction(_ x: Tensor, _ rows: AttentionRows, _ context: Context) throws -> Tensor {
        let ranks = context.tensorParallel.size
        let heads = AttentionHeads(
            query: configuration.heads / ranks, keyValue: configuration.keyValueHeads(ofRanks: ranks),
            width: configuration.headWidth)
        let normed = try queryKeyValue(x, context)
        let projected = context.repeated(norm?(normed, heads, context) ?? normed, to: rows.count)
        let rotated = context.rotaryEmbedding(projected, rows, heads, rotary)
        return try context.recomputable {
            context.spanAttention(rotated, rows, heads, cache: rows.cache?.layers[layer])
        } _: {
            try output($0, context)
        }
    }
}

/// `down(silu(gate(x)) · up(x))`.
struct FeedForward {
    let gateUp: Linear
    let down: Linear

    init(_ name: String, _ configuration: ModelConfiguration, in builder: ParameterBuilder) {
        gateUp = Linear(
            ["gate_proj", "up_proj"].map { "\(name).\($0)" }, inputs: configuration.width,
            outputs: [configuration.feedForward, configuration.feedForward], split: .outputs,
            standardDeviation: configuration.initialDeviation,
            in: builder)
        down = Linear(
            [name + ".down_proj"], inputs: configuration.feedForward, outputs: [configuration.width], split: .inputs,
            standardDeviation: configuration.initialResidualDeviation, in: builder)
    }

    func callAsFunction(_ x: Tensor, _ context: Context) throws -> Tensor {
        let gateUp = try gateUp(x, context)
        return try context.recomputable {
            context.swiGLU(gateUp)
        } _: {
            try down($0, context)
        }
    }
}

extension ModelConfiguration {
    /// The deviation of initial weights: sqrt(2 / 5d), Nguyen and Salazar 2019, "Transformers without tears".
    public var initialDeviation: Float { (0.4 / Float(width)).squareRoot() }
    /// The same for layers that write into the residual stream, which sums two of them a block.
    var initialResidualDeviation: Float { initialDeviation / Float(2 * layers).squareRoot() }
}
