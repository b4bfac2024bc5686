internal import Foundation
internal import TransfusionCheckpoint
import TransfusionCore
public import TransfusionModels

/// A small model with random weights in a directory: `config.json`, `model.safetensors` and the tokenizer of
/// Tests/Fixtures/tokenizer.
public struct ModelOnDisk: Sendable {
    public let configuration: ModelConfiguration
    private let directory: TemporaryDirectory

    public var path: String { directory.path }
    public func file(_ name: String) -> String { directory.file(name) }

    /// - Parameter change: Changes the configuration, after which the model may not fit its tokenizer any more.
    public init(_ change: (inout ModelConfiguration) -> Void = { _ in }) throws {
        var configuration = ModelConfiguration(
            layers: 1, width: 32, heads: 2, feedForward: 48, vocabulary: 402, patchSize: 4, imageChannels: 3,
            imageHeight: 8, imageWidth: 8, beginOfText: 1, endOfText: 2, beginOfImage: 400, endOfImage: 401)
        change(&configuration)
        self.configuration = configuration
        directory = try TemporaryDirectory()
        try JSONEncoder().encode(configuration).write(to: URL(filePath: directory.file("config.json")))
        try FileManager.default.copyItem(
            atPath: Fixtures.path("tokenizer/small.model"), toPath: directory.file("tokenizer.model"))
        let context = Context(pool: ThreadPool(threads: 1), type: .f32)
        let model = TransfusionModel(configuration, context)
        model.parameters.initialize(seed: 3)
        try write(tensors: model.parameters.parameters.map { ($0.name, $0.globalShape, $0.value.floats()) })
    }

    /// Writes `model.safetensors` anew.
    public func write(tensors: [(name: String, shape: [Int], values: [Float])]) throws {
        try SafetensorsWriter().write(
            tensors.map { SafetensorsTensor($0.name, .f32, $0.shape, $0.values) }, to: file("model.safetensors"))
    }

    /// The tensors of `model.safetensors`.
    public func tensors() throws -> [(name: String, shape: [Int], values: [Float])] {
        let file = try SafetensorsFile(file("model.safetensors"))
        return try file.entries.map { ($0.name, $0.shape, try file.floats($0.name)) }
    }
}
