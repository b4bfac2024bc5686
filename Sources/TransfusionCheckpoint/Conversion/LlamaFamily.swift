internal import TransfusionModels

/// The architectures of transformers that a Transfusion model's text part can be: Llama's block with other options.
public enum LlamaFamily: String, Sendable, Codable, CaseIterable {
    /// Llama, and what uses its code: TinyLlama, SmolLM.
    case llama
    case mistral
    case qwen2
    case qwen3

    /// What transformers calls the model with a head.
    var architecture: String {
        switch self {
        case .llama: "LlamaForCausalLM"
        case .mistral: "MistralForCausalLM"
        case .qwen2: "Qwen2ForCausalLM"
        case .qwen3: "Qwen3ForCausalLM"
        }
    }

    /// The family to export a model as: the given one, or another where that has not the model's options.
    /// - Throws: `CheckpointError` at `path` when none has them together.
    static func of(_ model: ModelConfiguration, preferred: LlamaFamily, path: String) throws -> LlamaFamily {
        guard let family = ([preferred] + allCases).first(where: { $0.canBe(model) }) else {
            throw CheckpointError(
                path,
                "cannot be written: no Llama of transformers has model.norm \(model.norm.rawValue), model.qk_norm "
                    + "\(model.queryKeyNorm.rawValue) and model.attention_bias \(model.attentionBias.rawValue) together; choose "
                    + "the format safetensors")
        }
        return family
    }

    private func canBe(_ model: ModelConfiguration) -> Bool {
        guard model.norm == .pre else { return false }
        return switch self {
        case .llama: model.queryKeyNorm == .none && model.attentionBias != .queryKeyValue
        case .mistral: model.queryKeyNorm == .none && model.attentionBias == .none
        case .qwen2: model.queryKeyNorm == .none && model.attentionBias == .queryKeyValue
        case .qwen3: model.queryKeyNorm == .rms && model.attentionBias != .queryKeyValue
        }
    }
}
