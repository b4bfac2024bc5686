import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import TransfusionSupport

/// A CLIP model of a directory as Hugging Face's libraries write it: what it makes of pictures and texts.
struct CLIPModel {
    let configuration: CLIPConfiguration
    private let tokenizer: CLIPTokenizer
    private let network: CLIPNetwork
    private let context: Context
    private let normalization: (mean: [Float], deviation: [Float])

    private static let fileLimit = 1 << 20
    /// What OpenAI's models were trained with.
    private static let usual = (
        mean: [Float](arrayLiteral: 0.48145466, 0.4578275, 0.40821073),
        deviation: [Float](arrayLiteral: 0.26862954, 0.26130258, 0.27577711)
    )

    /// - Throws: One line that names the file, the key or the tensor.
    init(_ directory: String, threads: Int) throws {
        guard Directories.exists(directory) else {
            throw CommandFailure(
                "\(directory): is no directory; give one with config.json, model.safetensors and the tokenizer's files, as of "
                    + "Hugging Face's openai/clip-vit-large-patch14", .wrongUse)
        }
        configuration = try Description.read(Paths.join(directory, "config.json"))
        tokenizer = try CLIPTokenizer(directory: directory)
        guard tokenizer.vocabulary <= configuration.vocabulary else {
            throw CommandFailure(
                "\(directory): its tokenizer has \(tokenizer.vocabulary) tokens, its model \(configuration.vocabulary)")
        }
        normalization = try Preprocessor.read(Paths.join(directory, "preprocessor_config.json")) ?? Self.usual
        let weights = try NetworkWeights(directory)
        try weights.require(CLIPNetwork.shapes(configuration), of: "the CLIP model that its config.json describes")
        context = Context(pool: ThreadPool(threads: threads), type: .f32)
        network = CLIPNetwork(configuration, context)
        for parameter in network.parameters.parameters {
            let factor = CLIPNetwork.scale(of: parameter.name)
            var values = try weights.floats(parameter.name)
            if factor != 1 { for index in values.indices { values[index] *= factor } }
            values.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
    }

    /// The ids of a text, and whether its end was cut off.
    func tokens(_ text: String) -> (ids: [Int32], isCut: Bool) {
        tokenizer.encode(text, limit: configuration.contextLength)
    }

    /// Vectors of unit length.
    func embeddings(of texts: [[Int32]]) throws -> [[Double]] {
        Self.unit(try network.embeddings(ofTexts: texts, context))
    }

    /// Vectors of unit length.
    func embeddings(of pictures: [Picture]) throws -> [[Double]] {
        let side = configuration.imageSize, size = side * side * 3
        let input = Tensor([pictures.count, side, side, 3], .f32, allocator: context.allocator)
        for (place, picture) in pictures.enumerated() {
            // The shorter side first, then the centre.
            let short = min(picture.width, picture.height)
            let resized = picture.resized(
                width: side * picture.width / short, height: side * picture.height / short)
            let rgb = resized.centreSquare().rgb
            for index in 0..<size {
                let channel = index % 3
                input.f32[place * size + index] =
                    (Float(rgb[index]) / 255 - normalization.mean[channel]) / normalization.deviation[channel]
            }
        }
        return Self.unit(try network.embeddings(ofPictures: input, context))
    }

    private static func unit(_ vectors: Tensor) -> [[Double]] {
        let values = vectors.floats()
        return (0..<vectors.rows).map { row in
            let vector = values[row * vectors.width..<(row + 1) * vectors.width].map(Double.init)
            let length = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return vector.map { $0 / length }
        }
    }
}

/// `preprocessor_config.json`, as far as it matters here.
private struct Preprocessor: Decodable {
    let image_mean: [Float]?
    let image_std: [Float]?

    /// Nil where there is no such file, or nothing in it.
    static func read(_ path: String) throws -> (mean: [Float], deviation: [Float])? {
        guard Files.exists(path) else { return nil }
        let file: Preprocessor
        do {
            file = try JSONDecoder().decode(Preprocessor.self, from: Data(Files.read(path, limit: 1 << 20)))
        } catch let error as DecodingError {
            throw CommandFailure("\(path): \(JSONProblem(error))")
        }
        guard let mean = file.image_mean, let deviation = file.image_std else { return nil }
        guard mean.count == 3, deviation.count == 3, deviation.allSatisfy({ $0 > 0 }) else {
            throw CommandFailure("\(path): image_mean and image_std must be three numbers each")
        }
        return (mean, deviation)
    }
}

/// `config.json`. What it leaves out has the values of Hugging Face's `CLIPConfig`.
private struct Description: Decodable {
    struct Tower: Decodable {
        var hidden_size: Int?
        var intermediate_size: Int?
        var num_hidden_layers: Int?
        var num_attention_heads: Int?
        var hidden_act: String?
        var layer_norm_eps: Float?
        var vocab_size: Int?
        var max_position_embeddings: Int?
        var image_size: Int?
        var patch_size: Int?

        func sizes(width: Int, feedForward: Int, heads: Int) -> CLIPTowerSizes {
            CLIPTowerSizes(
                layers: num_hidden_layers ?? 12, width: hidden_size ?? width, heads: num_attention_heads ?? heads,
                feedForward: intermediate_size ?? feedForward, epsilon: layer_norm_eps ?? 1e-5)
        }
    }

    var model_type: String?
    var text_config: Tower?
    var vision_config: Tower?
    var projection_dim: Int?

    static func read(_ path: String) throws -> CLIPConfiguration {
        func fail(_ problem: String) -> CommandFailure { CommandFailure("\(path): \(problem)") }
        let file: Description
        do {
            file = try JSONDecoder().decode(Description.self, from: Data(Files.read(path, limit: 1 << 20)))
        } catch let error as DecodingError {
            throw fail("\(JSONProblem(error))")
        }
        guard file.model_type == "clip" else {
            throw fail("describes a model of the type '\(file.model_type ?? "none")', not 'clip'")
        }
        let text = file.text_config ?? Tower(), vision = file.vision_config ?? Tower()
        for (name, tower) in [("text_config", text), ("vision_config", vision)] {
            let activation = tower.hidden_act ?? "quick_gelu"
            guard activation == "quick_gelu" else {
                throw fail("\(name).hidden_act is '\(activation)', and only 'quick_gelu' is computed here")
            }
        }
        let configuration = CLIPConfiguration(
            vision: vision.sizes(width: 768, feedForward: 3072, heads: 12),
            text: text.sizes(width: 512, feedForward: 2048, heads: 8), imageSize: vision.image_size ?? 224,
            patchSize: vision.patch_size ?? 32, vocabulary: text.vocab_size ?? 49408,
            contextLength: text.max_position_embeddings ?? 77, projection: file.projection_dim ?? 512)
        for (name, value, range) in [
            ("vision_config.image_size", configuration.imageSize, 1...4096),
            ("vision_config.patch_size", configuration.patchSize, 1...configuration.imageSize.clamped(to: 1...4096)),
            ("text_config.vocab_size", configuration.vocabulary, 2...1 << 24),
            ("text_config.max_position_embeddings", configuration.contextLength, 2...65536),
            ("projection_dim", configuration.projection, 1...65536),
        ] where !range.contains(value) {
            throw fail("\(name) is \(value); it must lie between \(range.lowerBound) and \(range.upperBound)")
        }
        for (name, sizes) in [("text_config", configuration.text), ("vision_config", configuration.vision)] {
            guard (1...65536).contains(sizes.width), (1...1024).contains(sizes.layers),
                (1...1 << 20).contains(sizes.feedForward), (1...sizes.width).contains(sizes.heads),
                sizes.width.isMultiple(of: 2 * sizes.heads)
            else { throw fail("\(name) has sizes of which no transformer can be made") }
        }
        return configuration
    }
}

extension Int {
    fileprivate func clamped(to range: ClosedRange<Int>) -> Int {
        Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
    }
}
