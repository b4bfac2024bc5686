internal import FoundationEssentials
internal import TransfusionCore
public import TransfusionModels
internal import TransfusionSupport

/// What a plain Llama does not say about images; used when its weights start a Transfusion model.
public struct ImageOptions: Sendable, Equatable {
    /// With none, the weights start a model without images.
    public var images = ModelConfiguration.Images.diffusion
    /// How many codes images have, where they are tokens.
    public var codes = 0
    public var patchSize: Int
    public var channels: Int
    public var height: Int
    public var width: Int
    /// Where the timestep joins the patches.
    public var timestepAfterProjection: Bool
    public var patchCoder = ModelConfiguration.PatchCoder.linear
    /// Of a U-Net; nil goes by the model's width.
    public var unetChannels: Int?
    /// The seed of the weights that a Llama does not have.
    public var seed: UInt64

    public init(
        patchSize: Int = 8, channels: Int = 3, height: Int = 32, width: Int = 32,
        timestepAfterProjection: Bool = false, seed: UInt64 = 0
    ) {
        self.patchSize = patchSize
        self.channels = channels
        self.height = height
        self.width = width
        self.timestepAfterProjection = timestepAfterProjection
        self.seed = seed
    }
}

/// A Transfusion model as one of the Llama family that other tools understand, with the rest in a file beside it.
///
/// When BOI and EOI are the last two tokens, which is where added tokens are, their rows leave the embedding and the
/// head, so that the Llama has just the vocabulary of its text tokenizer.
enum LlamaFormat {
    static let sideFileName = "transfusion.safetensors"
    private static let markers = 2
    private static let addedPrefix = "added_tokens."
    private static let embedding = "model.embed_tokens.weight", head = "lm_head.weight"
    private static let tables = [embedding, head]

    /// The Llama and what is left for the side file.
    static func split(
        _ weights: ModelWeights
    ) -> (configuration: ModelConfiguration, llama: [String: SourceTensor], rest: [String: SourceTensor]) {
        var configuration = weights.configuration
        let patchNames = Set(configuration.patchParameters.map(\.name))
        var llama = weights.tensors.filter { !patchNames.contains($0.key) }
        var rest = weights.tensors.filter { patchNames.contains($0.key) }
        let added = markers + configuration.imageCodes, text = configuration.vocabulary - added
        if Set([Int(configuration.beginOfImage), Int(configuration.endOfImage)]) == [text, text + 1] {
            configuration.vocabulary = text
            for name in tables {
                guard let table = llama[name] else { continue }
                llama[name] = table.rows(0..<text)
                rest[addedPrefix + name] = table.rows(text..<text + added)
            }
        }
        return (configuration, llama, rest)
    }

    /// A Transfusion model of a Llama and its side file; without one, of a Llama and new weights.
    static func join(
        _ llama: [String: SourceTensor], _ description: LlamaDescription, directory: String, images: ImageOptions
    ) throws -> ModelWeights {
        let sidePath = Paths.join(directory, sideFileName)
        var weights: ModelWeights
        if POSIXFileSystem().exists(sideFileName, in: directory) {
            let file = try SafetensorsFile(sidePath)
            let side = try sideDescription(file)
            let llama = try withoutTiedHead(llama, side.configuration, directory)
            weights = ModelWeights(
                side.configuration,
                try extended(
                    llama, at: directory, by: SafetensorsDirectory.tensors(of: file),
                    added: markers + side.configuration.imageCodes, sidePath))
            weights.contextLength = side.contextLength ?? description.contextLength
            weights.family = side.family
        } else {
            var configuration = description.configuration(images)
            let padding = configuration.takeMarkers(in: directory, rows: description.vocabulary)
            let added = (padding == nil ? markers : 0) + configuration.imageCodes
            let new = newTensors(configuration, added: added, seed: images.seed)
            var llama = try withoutTiedHead(llama, configuration, directory)
            for name in tables where padding != nil {
                guard let table = llama[name], table.shape.first == description.vocabulary else { continue }
                llama[name] = table.rows(0..<configuration.textVocabulary)
            }
            weights = ModelWeights(configuration, try extended(llama, at: directory, by: new, added: added, directory))
            if let padding, padding > 0 {
                weights.passedOver = ["\(padding) rows of embeddings behind the tokenizer's vocabulary"]
            }
            weights.contextLength = description.contextLength
            weights.family = description.family
            let rows = [padding == nil ? "BOI and EOI" : nil, configuration.imageCodes > 0 ? "image codes" : nil]
                .compactMap(\.self).joined(separator: " and ")
            weights.drawn = new.keys.map {
                $0.hasPrefix(addedPrefix) ? "the rows of \(rows) in \($0.dropFirst(addedPrefix.count))" : $0
            }.sorted()
        }
        return try weights.validated(from: directory)
    }

    /// The tensors without a head that only repeats the embedding, as fine-tuned models often have.
    /// - Throws: When it is another one: nobody can say which of both is meant.
    private static func withoutTiedHead(
        _ llama: [String: SourceTensor], _ configuration: ModelConfiguration, _ path: String
    ) throws -> [String: SourceTensor] {
        guard configuration.hasTiedEmbeddings, let head = llama[head] else { return llama }
        guard let embedding = llama[embedding], try embedding.hasEqualBits(head) else {
            throw CheckpointError(
                path,
                "has a tensor \(Self.head) that differs from \(Self.embedding), though config.json says "
                    + "\"tie_word_embeddings\": true; remove the tensor, or set it to false if the head was trained by itself"
            )
        }
        return llama.filter { $0.key != Self.head }
    }

    /// What a Llama lacks, as a side file would hold it.
    /// - Parameter added: Rows of embeddings behind those of the Llama.
    private static func newTensors(
        _ configuration: ModelConfiguration, added: Int, seed: UInt64
    ) -> [String: SourceTensor] {
        var tensors: [String: SourceTensor] = [:]
        for parameter in configuration.patchParameters {
            tensors[parameter.name] = .initial(
                parameter.name, parameter.globalShape, parameter.initialization, seed: seed)
        }
        // As short as the rows of a trained Llama are, rather than those of a new model.
        let deviation = Parameter.Initialization.normal(standardDeviation: configuration.initialDeviation)
        for name in tables where added > 0 && !(configuration.hasTiedEmbeddings && name == head) {
            tensors[addedPrefix + name] = .initial(
                addedPrefix + name, [added, configuration.width], deviation, seed: seed)
        }
        return tensors
    }

    private static func extended(
        _ llama: [String: SourceTensor], at llamaPath: String, by rest: [String: SourceTensor], added count: Int,
        _ path: String
    ) throws -> [String: SourceTensor] {
        var (tensors, rest) = (llama, rest)
        for name in tables {
            guard let added = rest.removeValue(forKey: addedPrefix + name) else { continue }
            guard let table = tensors[name] else { throw CheckpointError(llamaPath, missing(name)) }
            guard table.shape.count == 2, added.shape == [count, table.shape[1]], table.type.isFloat,
                added.type.isFloat
            else { throw CheckpointError(path, "tensor \(addedPrefix)\(name) does not fit to \(table.shape)") }
            // The wider of both types: no number is rounded here.
            let type = table.type == added.type ? table.type : .f32
            tensors[name] = table.converted(to: type).followed(by: added.converted(to: type))
        }
        if let known = rest.keys.filter({ tensors[$0] != nil }).min() {
            throw CheckpointError(path, "has \(known), which no Llama has; a Transfusion model's format is safetensors")
        }
        return tensors.merging(rest) { $1 }
    }

    private static func missing(_ table: String) -> String {
        "has no tensor \(table)"
            + (table == head
                ? "; of a Llama whose head is its embedding, config.json says \"tie_word_embeddings\": true" : "")
    }

    /// Writes the side file: the rest, and the whole model's description.
    static func writeSideFile(
        _ rest: [String: SourceTensor], of weights: ModelWeights, to directory: String
    ) throws {
        let config = try JSONText.line(weights.description)
        try SafetensorsWriter().write(
            SafetensorsDirectory.sorted(rest), metadata: ["config": config], to: Paths.join(directory, sideFileName))
    }

    private static func sideDescription(_ file: SafetensorsFile) throws -> ModelDescription {
        do {
            return try JSONDecoder().decode(ModelDescription.self, from: Data((file.metadata["config"] ?? "").utf8))
        } catch {
            throw CheckpointError(file.path, "has no valid model configuration: \(JSONProblem(error))")
        }
    }
}
