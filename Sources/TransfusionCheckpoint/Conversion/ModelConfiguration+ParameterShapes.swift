internal import FoundationEssentials
public import TransfusionCore

extension ModelConfiguration {
    /// The name and global shape of every parameter that a model of this configuration has.
    ///
    /// The transformer has the names of Hugging Face Llama, the rest plain words; weights are `[outputs, inputs]`.
    public var parameterShapes: [String: [Int]] {
        llamaParameterShapes.merging(patchParameterShapes) { $1 }
    }

    /// The part that a Llama has too.
    public var llamaParameterShapes: [String: [Int]] {
        var shapes = [
            "model.embed_tokens.weight": [vocabulary, width], "model.norm.weight": [width],
            "lm_head.weight": [vocabulary, width],
        ]
        for layer in 0..<layers {
            let prefix = "model.layers.\(layer)."
            shapes[prefix + "input_layernorm.weight"] = [width]
            shapes[prefix + "post_attention_layernorm.weight"] = [width]
            for projection in ["q", "k", "v", "o"] {
                shapes[prefix + "self_attn.\(projection)_proj.weight"] = [width, width]
            }
            shapes[prefix + "mlp.gate_proj.weight"] = [feedForward, width]
            shapes[prefix + "mlp.up_proj.weight"] = [feedForward, width]
            shapes[prefix + "mlp.down_proj.weight"] = [width, feedForward]
        }
        return shapes
    }

    /// The part that turns patches into vectors and back.
    public var patchParameterShapes: [String: [Int]] {
        var shapes = [
            "patch_encoder.timestep.linear_1.weight": [width, 256], "patch_encoder.timestep.linear_1.bias": [width],
            "patch_encoder.timestep.linear_2.weight": [width, width], "patch_encoder.timestep.linear_2.bias": [width],
            "patch_encoder.projection.weight": [width, patchWidth], "patch_encoder.projection.bias": [width],
            "patch_decoder.projection.weight": [patchWidth, width], "patch_decoder.projection.bias": [patchWidth],
        ]
        if !timestepAfterProjection {
            shapes["patch_encoder.timestep.projection.weight"] = [patchWidth, width]
            shapes["patch_encoder.timestep.projection.bias"] = [patchWidth]
        }
        return shapes
    }
}

extension CheckpointMetadata {
    /// The metadata of a Transfusion model's checkpoint.
    public init(
        configuration: ModelConfiguration, tokenizer: String? = nil, data: String? = nil, layout: [String: Int] = [:],
        scalars: [String: JSONValue] = [:]
    ) throws {
        let json = try JSONEncoder().encode(configuration)
        self.init(
            model: try JSONDecoder().decode(JSONValue.self, from: json), tokenizer: tokenizer, data: data,
            layout: layout, scalars: scalars)
    }
}

extension Checkpoint {
    /// The configuration of the Transfusion model that the checkpoint holds.
    /// - Throws: `CheckpointError` when it holds something else, or a configuration that is impossible.
    public func modelConfiguration() throws -> ModelConfiguration {
        do {
            let json = try JSONEncoder().encode(metadata.model)
            return try ModelConfiguration.validated(json)
        } catch {
            throw CheckpointError(path, "has no valid model configuration: \(JSONProblem(error))")
        }
    }
}

extension ModelConfiguration {
    /// Reads a `config.json` and refuses sizes of which no model can be made.
    static func validated(_ json: Data) throws -> ModelConfiguration {
        let configuration = try JSONDecoder().decode(ModelConfiguration.self, from: json)
        // Sizes from outside are multiplied later on.
        let sizes = [
            configuration.layers, configuration.width, configuration.heads, configuration.feedForward,
            configuration.vocabulary, configuration.patchSize, configuration.imageChannels,
            configuration.imageHeight, configuration.imageWidth,
        ]
        if let size = sizes.first(where: { $0 > 1 << 24 }) {
            throw CheckpointError("config.json", "has a size of \(size), which no model has")
        }
        if let problem = configuration.problems().first { throw problem }
        return configuration
    }
}
