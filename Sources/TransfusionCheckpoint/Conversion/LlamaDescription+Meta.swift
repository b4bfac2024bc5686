internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionSupport

/// Meta's `params.json`.
private struct MetaParameters: Codable {
    var dim: Int
    var n_layers: Int
    var n_heads: Int
    var n_kv_heads: Int?
    var vocab_size: Int
    var norm_eps: Float
    var rope_theta: Float?
    var use_scaled_rope: Bool?
}

extension LlamaDescription {
    /// - Parameters:
    ///   - path: A `params.json`.
    ///   - feedForward: The hidden width, which `params.json` implies only.
    ///   - vocabulary: The number of embeddings; `params.json` may say −1.
    init(meta path: String, feedForward: Int, vocabulary: Int) throws {
        let file: MetaParameters = try Self.decode(path)
        guard file.n_heads > 0, file.dim % file.n_heads == 0 else {
            throw CheckpointError(path, "describes an impossible model")
        }
        guard file.use_scaled_rope != true else {
            throw CheckpointError(
                path, "scales its rotary embedding without saying how far; convert the form of Hugging Face instead")
        }
        self = try LlamaDescription(
            layers: file.n_layers, width: file.dim, heads: file.n_heads,
            keyValueHeads: file.n_kv_heads ?? file.n_heads, headWidth: file.dim / file.n_heads,
            feedForward: feedForward, vocabulary: vocabulary, rmsNormEpsilon: file.norm_eps,
            ropeBase: file.rope_theta ?? 10000, beginOfText: 1, endOfText: 2
        ).validated(path)
    }

    /// - Throws: When the model has what no `params.json` can say.
    static func meta(_ model: ModelConfiguration, path: String) throws -> [UInt8] {
        let unsaid = [
            model.headWidth * model.heads == model.width ? nil : "model.head_width \(model.headWidth)",
            model.attentionBias == .none ? nil : "model.attention_bias \(model.attentionBias.rawValue)",
            model.queryKeyNorm == .none ? nil : "model.qk_norm \(model.queryKeyNorm.rawValue)",
            model.norm == .pre ? nil : "model.norm \(model.norm.rawValue)",
            model.ropeScaling.map { "model.rope_scaling.factor \($0.factor)" },
        ].compactMap(\.self)
        guard unsaid.isEmpty else {
            throw CheckpointError(path, "cannot say \(unsaid.joined(separator: ", ")); choose the format hf-llama")
        }
        return try JSONText.pretty(
            MetaParameters(
                dim: model.width, n_layers: model.layers, n_heads: model.heads,
                n_kv_heads: model.keyValueHeads == model.heads ? nil : model.keyValueHeads,
                vocab_size: model.vocabulary, norm_eps: model.rmsNormEpsilon, rope_theta: model.ropeBase))
    }
}
