internal import FoundationEssentials
import TransfusionCore
public import TransfusionModels

extension ModelConfiguration {
    /// The name and global shape of every parameter that a model of this configuration has.
    public var parameterShapes: [String: [Int]] {
        Dictionary(uniqueKeysWithValues: TransfusionModel.parameters(self).map { ($0.name, $0.globalShape) })
    }

    /// The parameters that turn patches into vectors and back, which a Llama does not have.
    var patchParameters: [Parameter] {
        TransfusionModel.parameters(self).filter { $0.name.hasPrefix("patch_") }
    }
}

extension CheckpointMetadata {
    /// The metadata of a Transfusion model's checkpoint.
    /// - Parameters:
    ///   - contextLength: Rows of the longest sequence that the model was trained on, when that is known.
    ///   - family: What transformers calls the text part.
    public init(
        configuration: ModelConfiguration, contextLength: Int? = nil, family: LlamaFamily = .llama,
        tokenizer: String? = nil, data: String? = nil,
        layout: [String: Int] = [:], scalars: [String: JSONValue] = [:]
    ) throws {
        let json = try JSONEncoder().encode(
            ModelDescription(configuration, contextLength: contextLength, family: family))
        self.init(
            model: try JSONDecoder().decode(JSONValue.self, from: json), tokenizer: tokenizer, data: data,
            layout: layout, scalars: scalars)
    }
}

extension Checkpoint {
    /// The configuration of the Transfusion model that the checkpoint holds.
    /// - Throws: `CheckpointError` when it holds something else, or a configuration that is impossible.
    public func modelConfiguration() throws -> ModelConfiguration { try modelDescription().configuration }

    func modelDescription() throws -> ModelDescription {
        do {
            let json = try JSONEncoder().encode(metadata.model)
            return try JSONDecoder().decode(ModelDescription.self, from: json)
        } catch {
            throw CheckpointError(path, "has no valid model configuration: \(JSONProblem(error))")
        }
    }
}
