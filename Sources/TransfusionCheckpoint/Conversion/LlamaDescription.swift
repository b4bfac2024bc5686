internal import FoundationEssentials
internal import TransfusionCore
internal import TransfusionModels

/// What the `config.json` or `params.json` of a model of the Llama family says of it.
struct LlamaDescription {
    var family = LlamaFamily.llama
    var layers: Int
    var width: Int
    var heads: Int
    var keyValueHeads: Int
    var headWidth: Int
    var feedForward: Int
    var vocabulary: Int
    var rmsNormEpsilon: Float
    var ropeBase: Float
    var ropeScaling: RotaryScaling?
    var beginOfText: Int32
    var endOfText: Int32
    var hasTiedEmbeddings = false
    var attentionBias = ModelConfiguration.AttentionBias.none
    var hasQueryKeyNorm = false
    /// Rows of the longest sequence that the Llama was trained on, when it says so.
    var contextLength: Int?

    /// The Transfusion model that this Llama starts: BOI and EOI are added after its vocabulary.
    func configuration(_ images: ImageOptions) -> ModelConfiguration {
        var configuration = ModelConfiguration(
            layers: layers, width: width, heads: heads, feedForward: feedForward, vocabulary: vocabulary + 2,
            patchSize: images.patchSize, imageChannels: images.channels, imageHeight: images.height,
            imageWidth: images.width, beginOfText: beginOfText, endOfText: endOfText,
            beginOfImage: Int32(vocabulary), endOfImage: Int32(vocabulary + 1))
        configuration.keyValueHeads = keyValueHeads
        configuration.headWidth = headWidth
        configuration.rmsNormEpsilon = rmsNormEpsilon
        configuration.ropeBase = ropeBase
        configuration.ropeScaling = ropeScaling
        configuration.hasTiedEmbeddings = hasTiedEmbeddings
        configuration.attentionBias = attentionBias
        configuration.queryKeyNorm = hasQueryKeyNorm ? .rms : .none
        configuration.timestepAfterProjection = images.timestepAfterProjection
        configuration.patchCoder = images.patchCoder
        if let unetChannels = images.unetChannels { configuration.unetChannels = unetChannels }
        return switch images.images {
        case .diffusion: configuration
        case .tokens: configuration.withImageTokens(codes: images.codes)
        case .none: configuration.withoutImages
        }
    }

    /// Refuses sizes that overflow when they are multiplied, and models that cannot be.
    func validated(_ path: String) throws -> LlamaDescription {
        let sizes = [layers, width, heads, keyValueHeads, headWidth, feedForward, vocabulary]
        guard sizes.allSatisfy({ $0 > 0 && $0 <= 1 << 24 }), heads % keyValueHeads == 0,
            (1...ModelDescription.contextLimit).contains(contextLength ?? 1)
        else {
            throw CheckpointError(path, "describes an impossible model")
        }
        return self
    }

    static func decode<Value: Decodable>(_ path: String) throws -> Value {
        let json = try POSIXFileSystem().contents(path, limit: 1 << 20)
        guard !json.isEmpty else { throw CheckpointError(path, "is empty") }
        guard String(validating: json, as: UTF8.self) != nil else { throw CheckpointError(path, "is not UTF-8 text") }
        do {
            return try JSONDecoder().decode(Value.self, from: Data(json))
        } catch {
            throw CheckpointError(path, "cannot be understood: \(JSONProblem(error))")
        }
    }
}
