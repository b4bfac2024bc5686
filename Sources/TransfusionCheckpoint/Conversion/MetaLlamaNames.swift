internal import TransfusionCore
internal import TransfusionModels

/// Meta's names for a Llama's tensors, and their order of rows.
///
/// Meta's rotary embedding turns neighbouring pairs of a head (2i, 2i + 1), Hugging Face's turns halves (i, i + w/2).
/// Rows of the query and key projections are therefore in another order.
enum MetaLlamaNames {
    private static let outer = [
        "model.embed_tokens.weight": "tok_embeddings.weight", "model.norm.weight": "norm.weight",
        "lm_head.weight": "output.weight",
    ]
    private static let inner = [
        "input_layernorm.weight": "attention_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
        "self_attn.q_proj.weight": "attention.wq.weight", "self_attn.k_proj.weight": "attention.wk.weight",
        "self_attn.v_proj.weight": "attention.wv.weight", "self_attn.o_proj.weight": "attention.wo.weight",
        "mlp.gate_proj.weight": "feed_forward.w1.weight", "mlp.down_proj.weight": "feed_forward.w2.weight",
        "mlp.up_proj.weight": "feed_forward.w3.weight",
    ]

    /// Hugging Face's name → Meta's, for all tensors of a model with this many layers.
    private static func names(layers: Int) -> [String: String] {
        (0..<layers).reduce(into: outer) { names, layer in
            for (name, meta) in inner { names["model.layers.\(layer).\(name)"] = "layers.\(layer).\(meta)" }
        }
    }

    /// Meta's names of all tensors of a model with this many layers.
    static func all(layers: Int) -> [String] { Array(names(layers: layers).values) }

    static func toMeta(_ tensors: [String: SourceTensor], _ configuration: ModelConfiguration) -> [String: SourceTensor]
    {
        let names = names(layers: configuration.layers)
        var tensors = tensors
        // Meta has both, whether they are the same or not.
        if configuration.hasTiedEmbeddings { tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] }
        return tensors.reduce(into: [:]) { result, entry in
            guard let name = names[entry.key] else { return }
            result[name] =
                isRotated(entry.key)
                ? entry.value.permutedRows(halfRow(headWidth: configuration.headWidth)) : entry.value
        }
    }

    static func fromMeta(
        _ tensors: [String: SourceTensor], layers: Int, headWidth: Int, path: String
    ) throws -> [String: SourceTensor] {
        let names = names(layers: layers).reduce(into: [:]) { $0[$1.value] = $1.key }
        return try tensors.reduce(into: [:]) { result, entry in
            if entry.key == "rope.freqs" { return }  // a table that follows from the sizes
            guard let name = names[entry.key] else {
                throw CheckpointError(path, "has the unknown tensor \(entry.key)")
            }
            result[name] =
                isRotated(name) ? entry.value.permutedRows(pairRow(headWidth: headWidth)) : entry.value
        }
    }

    private static func isRotated(_ name: String) -> Bool {
        name.hasSuffix("self_attn.q_proj.weight") || name.hasSuffix("self_attn.k_proj.weight")
    }

    /// Where row `r` of Meta's order is in Hugging Face's.
    static func halfRow(headWidth: Int) -> @Sendable (Int) -> Int {
        { row in
            let (head, place) = row.quotientAndRemainder(dividingBy: headWidth)
            return head * headWidth + place % 2 * (headWidth / 2) + place / 2
        }
    }

    /// Where row `r` of Hugging Face's order is in Meta's.
    static func pairRow(headWidth: Int) -> @Sendable (Int) -> Int {
        { row in
            let (head, place) = row.quotientAndRemainder(dividingBy: headWidth)
            return head * headWidth + place % (headWidth / 2) * 2 + place / (headWidth / 2)
        }
    }
}
