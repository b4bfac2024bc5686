internal import Glibc
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels
internal import TransfusionSupport

/// The text part of a model as llama.cpp reads it: one file with the weights, what they mean, and the tokenizer.
///
/// ### References
/// llama.cpp, convert_hf_to_gguf.py, for its names and for the order of the rows of queries and keys.
struct GGUFExport {
    /// llama.cpp's name of the architecture.
    enum Architecture: String {
        /// Rotary embedding turns neighbouring pairs.
        case llama
        case qwen2
        case qwen3
    }

    private let model: ModelConfiguration
    private let architecture: Architecture
    private let tensors: [String: SourceTensor]
    private let contextLength: Int
    private let tokenizer: GGUFTokenizer

    /// What transformers takes for a Llama that does not say it.
    private static let unknownContextLength = 2048

    /// - Throws: `CheckpointError` when llama.cpp has no architecture with the model's options, or there is no tokenizer.
    init(_ weights: ModelWeights, path: String) throws {
        (model, tensors, _) = LlamaFormat.split(weights)
        architecture = try Self.architecture(model, path)
        contextLength = weights.contextLength ?? Self.unknownContextLength
        tokenizer = try GGUFTokenizer(weights, model, path: path)
    }

    private static func architecture(_ model: ModelConfiguration, _ path: String) throws -> Architecture {
        switch (model.queryKeyNorm, model.attentionBias) {
        case (.none, .none) where model.norm == .pre, (.none, .all) where model.norm == .pre: return .llama
        case (.none, .queryKeyValue) where model.norm == .pre && model.ropeScaling == nil: return .qwen2
        case (.rms, .none) where model.norm == .pre && model.ropeScaling == nil: return .qwen3
        default:
            throw CheckpointError(
                path,
                "cannot be written: no architecture of llama.cpp has model.norm \(model.norm.rawValue), "
                    + "model.qk_norm \(model.queryKeyNorm.rawValue), model.attention_bias \(model.attentionBias.rawValue) and "
                    + (model.ropeScaling == nil ? "no model.rope_scaling" : "model.rope_scaling")
                    + " together; choose the format safetensors")
        }
    }

    /// - Returns: A line for each tensor that holds numbers which are not finite.
    func write(to path: String, type: GGUFType) throws -> [String] {
        let findings = NonFiniteFindings()
        let tensors = try named(path).map { name, source in
            let stored = type.ofTensor(source.shape)
            let watch = NumberWatch(name: name, path: path, findings: findings)
            return GGUFTensor(
                name: name, type: stored, source: source.converted(to: stored.element, watchedBy: watch))
        }
        try GGUFWriter().write(
            metadata(name: Paths.stem(of: path), type) + tokenizer.metadata, tensors, to: path)
        return findings.lines
    }

    private func metadata(name: String, _ type: GGUFType) -> [(key: String, value: GGUFValue)] {
        let own: [(String, GGUFValue)] = [
            ("block_count", .unsigned(model.layers)), ("context_length", .unsigned(contextLength)),
            ("embedding_length", .unsigned(model.width)), ("feed_forward_length", .unsigned(model.feedForward)),
            ("attention.head_count", .unsigned(model.heads)),
            ("attention.head_count_kv", .unsigned(model.keyValueHeads)),
            ("attention.key_length", .unsigned(model.headWidth)),
            ("attention.value_length", .unsigned(model.headWidth)),
            ("attention.layer_norm_rms_epsilon", .float(model.rmsNormEpsilon)),
            ("rope.freq_base", .float(model.ropeBase)), ("rope.dimension_count", .unsigned(model.headWidth)),
            ("vocab_size", .unsigned(model.vocabulary)),
        ]
        return [
            ("general.architecture", .text(architecture.rawValue)), ("general.type", .text("model")),
            ("general.name", .text(name)), ("general.file_type", .unsigned(type.fileNumber)),
            ("general.quantization_version", .unsigned(2)),
        ] + own.map { ("\(architecture.rawValue).\($0)", $1) }
    }

    private static let outer = [
        ("model.embed_tokens.weight", "token_embd.weight"), ("model.norm.weight", "output_norm.weight"),
        ("lm_head.weight", "output.weight"),
    ]
    private static let inner = [
        ("input_layernorm", "attn_norm"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"), ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"), ("post_attention_layernorm", "ffn_norm"), ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
    ]

    /// The tensors under llama.cpp's names, in the order of the model.
    private func named(_ path: String) throws -> [(name: String, source: SourceTensor)] {
        let blocks = (0..<model.layers).flatMap { layer in
            Self.inner.flatMap { own, theirs in
                ["weight", "bias"].map { ("model.layers.\(layer).\(own).\($0)", "blk.\(layer).\(theirs).\($0)") }
            }
        }
        let names = [Self.outer[0]] + blocks + Self.outer[1...]
        var named = names.compactMap { own, theirs in tensors[own].map { (name: theirs, source: ordered(own, $0)) } }
        guard named.count == tensors.count else {
            let known = Set(names.map(\.0))
            throw CheckpointError(
                path,
                "cannot be written: \(tensors.keys.filter { !known.contains($0) }.min() ?? "a tensor") has no name there"
            )
        }
        if let scaling = model.ropeScaling { named.insert(("rope_freqs.weight", frequencyFactors(scaling)), at: 1) }
        return named
    }

    /// Rows of queries and keys lie in llama.cpp's Llama as in Meta's.
    private func ordered(_ name: String, _ tensor: SourceTensor) -> SourceTensor {
        let isRotated = name.contains(".self_attn.q_proj.") || name.contains(".self_attn.k_proj.")
        guard architecture == .llama, isRotated else { return tensor }
        return tensor.permutedRows(MetaLlamaNames.halfRow(headWidth: model.headWidth))
    }

    /// What each frequency of the rotary embedding is divided by.
    private func frequencyFactors(_ scaling: RotaryScaling) -> SourceTensor {
        let half = model.headWidth / 2, base = Double(model.ropeBase)
        let factors = (0..<half).map { index in
            let frequency = pow(base, -Double(index) / Double(half))
            return Float(frequency / scaling.scaled(frequency))
        }
        return SourceTensor(.f32, [half]) { range, buffer in
            factors.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range])) }
        }
    }
}

extension ModelWeights {
    /// Writes the text part as a GGUF file to a path that does not exist yet; it appears there only when it is complete.
    ///
    /// - Parameter type: Of the matrices; vectors are f32.
    /// - Returns: A line for each tensor that holds numbers which are not finite.
    /// - Throws: Also when llama.cpp has no such model, and without a tokenizer.
    public func writeGGUF(to path: String, type: GGUFType) throws -> [String] {
        let path = Paths.withoutTrailingSlash(path)
        try POSIXFileSystem().requireAbsent(path)
        return try GGUFExport(self, path: path).write(to: path, type: type)
    }
}
