internal import FoundationEssentials
public import TransfusionCore
public import TransfusionModels
internal import TransfusionSupport

/// A model on disk, whatever holds it: a run, its checkpoints, one checkpoint, or safetensors files with a `config.json`.
///
/// Opening reads the description and refuses a model whose tensors are not exactly those that it calls for; `load` reads
/// the weights.
public struct ModelArchive: Sendable {
    /// The step directory or the directory of the safetensors files.
    public let path: String
    public let configuration: ModelConfiguration
    /// The training step, when the model comes from a run.
    public let step: Int?
    /// The digest of the tokenizer's file, when the model says which it wants.
    public let tokenizerDigest: String?
    /// The digest of the autoencoder whose latents the model was trained on, when it says so.
    public let autoencoderDigest: String?
    /// Rows of the longest sequence that the model was trained on, when it says so.
    public let contextLength: Int?
    private let weights: any WeightSource

    private static let configurationName = "config.json"

    /// - Parameters:
    ///   - path: A run directory or a directory of checkpoints (the newest one that verifies is taken), one step
    ///     directory, a directory with `config.json` and `model.safetensors` (or its parts), or one file of weights beside a `config.json`.
    ///   - report: Called for each damaged checkpoint that is passed over.
    /// - Throws: `CheckpointError` or `FileSystemError`, which name the file and what is wrong with it.
    public init(_ path: String, report: (SkippedCheckpoint) -> Void = { _ in }) throws {
        let fileSystem = POSIXFileSystem()
        if WeightFile.isNamed(path) {
            try self.init(files: [path], configuredBy: Paths.parent(of: path), fileSystem)
            return
        }
        let names: [String]
        do {
            names = try fileSystem.list(path)
        } catch {
            throw CheckpointError(
                path, "is no model: \(error.reason); give a run, a checkpoint, or a directory with config.json")
        }
        if names.contains(Manifest.fileName) {
            try self.init(try Checkpoint(path))
        } else if names.contains(Self.configurationName) {
            // One file, or the parts that Hugging Face writes for a large model.
            let files =
                names.contains("model.safetensors")
                ? ["model.safetensors"]
                : names.filter { $0.hasPrefix("model-") && $0.hasSuffix(".safetensors") }.sorted()
            guard !files.isEmpty else { throw CheckpointError(path, "has a config.json but no model.safetensors") }
            try self.init(files: files.map { Paths.join(path, $0) }, configuredBy: path, fileSystem)
        } else {
            let directory = names.contains("checkpoints") ? Paths.join(path, "checkpoints") : path
            let newest = try CheckpointStore(directory).newestVerified(puttingAside: false, report: report)
            guard let newest else {
                throw CheckpointError(directory, "holds no complete checkpoint; give a run, a checkpoint or a model")
            }
            try self.init(newest)
        }
    }

    private init(_ checkpoint: Checkpoint) throws {
        let model = try JSONEncoder().encode(checkpoint.metadata.model)
        try self.init(
            checkpoint.path, description: model, describedIn: checkpoint.path, step: checkpoint.step,
            tokenizerDigest: checkpoint.metadata.tokenizer, autoencoderDigest: checkpoint.metadata.autoencoder,
            weights: checkpoint)
    }

    private init(files: [String], configuredBy directory: String, _ fileSystem: any FileSystem) throws {
        let file = Paths.join(directory, Self.configurationName)
        let description = try fileSystem.contents(file, limit: 1 << 20)
        try self.init(
            directory, description: Data(description), describedIn: file, step: nil, tokenizerDigest: nil,
            autoencoderDigest: nil, weights: try WeightFiles(try files.map { try WeightFile($0) }, directory))
    }

    private init(
        _ path: String, description: Data, describedIn file: String, step: Int?, tokenizerDigest: String?,
        autoencoderDigest: String?, weights: any WeightSource
    ) throws {
        self.path = path
        self.step = step
        self.tokenizerDigest = tokenizerDigest
        self.autoencoderDigest = autoencoderDigest
        self.weights = weights
        do {
            let described = try JSONDecoder().decode(ModelDescription.self, from: description)
            configuration = described.configuration
            contextLength = described.contextLength
        } catch DecodingError.keyNotFound(let key, _) where key.stringValue == "patch_size" {
            throw CheckpointError(
                file,
                "describes no images, as of a Llama; make a Transfusion model of it with 'tf-ckpt convert … --from hf-llama'"
            )
        } catch {
            throw CheckpointError(file, "describes no Transfusion model: \(JSONProblem(error))")
        }
        // Before anybody takes the memory that an absurd description calls for.
        try weights.require(configuration.parameterShapes) { !$0.hasPrefix(ModelWeights.optimizerPrefix) }
    }

    /// The tokenizer's file: beside the weights, or in the directories of the run above them. Nil when there is none.
    public var tokenizerPath: String? {
        let parent = Paths.parent(of: path)
        let places = step == nil ? [path] : [path, parent, Paths.parent(of: parent)]
        let fileSystem = POSIXFileSystem()
        for place in places {
            let found = ModelWeights.vocabularyNames.filter { fileSystem.exists($0, in: place) }.map {
                Paths.join(place, $0)
            }
            guard found.count > 1, let tokenizerDigest else {
                if let file = found.first { return file }
                continue
            }
            // Many models have their tokenizer in both forms; one of them was used.
            return found.first { file in
                let contents = try? fileSystem.contents(file, limit: ModelWeights.tokenizerLimit)
                return contents.map { SHA256.hexDigest($0) } == tokenizerDigest
            } ?? found[0]
        }
        return nil
    }

    /// The copy of the autoencoder whose latents the model was trained on: beside the weights, or in the directory of the run
    /// above them. Nil when there is none.
    public var autoencoderPath: String? {
        let directory = runDirectory ?? path
        return POSIXFileSystem().exists(AutoencoderWeights.copyName, in: directory)
            ? Paths.join(directory, AutoencoderWeights.copyName) : nil
    }

    /// The directory of the run, when the model comes from one.
    public var runDirectory: String? { step == nil ? nil : Paths.parent(of: Paths.parent(of: path)) }

    /// Fills this rank's part of every parameter of a model of `configuration`.
    ///
    /// - Throws: When a tensor cannot be read or is damaged: an error that names it. The parameters are then in an undefined
    ///   state.
    public func load(into store: ParameterStore) throws {
        for parameter in store.parameters {
            let (offsets, sizes) = parameter.shard.box(in: parameter.globalShape)
            let values = try weights.floats(parameter.name, offsets: offsets, sizes: sizes)
            values.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
    }
}

/// Where named tensors come from.
private protocol WeightSource: Sendable {
    func require(_ expected: [String: [Int]], where matching: (String) -> Bool) throws
    /// A box of a tensor of any floating-point type.
    func floats(_ name: String, offsets: [Int], sizes: [Int]) throws -> [Float]
}

extension Checkpoint: WeightSource {
    fileprivate func floats(_ name: String, offsets: [Int], sizes: [Int]) throws -> [Float] {
        var box = try tensor(name)
        guard box.type == .f32 else {
            throw CheckpointError(path, "tensor \(name) has elements of \(box.type), not f32")
        }
        box.offsets = offsets
        box.sizes = sizes
        return try [Float](unsafeUninitializedCapacity: box.count) { buffer, count in
            try read(box, into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: box.byteCount))
            count = box.count
        }
    }
}

/// The tensors of one or several files of weights.
private struct WeightFiles: WeightSource {
    private let directory: String
    private var fileOf: [String: WeightFile] = [:]

    init(_ files: [WeightFile], _ directory: String) throws {
        self.directory = directory
        for file in files {
            for name in file.tensors.keys.sorted() {
                if let other = fileOf.updateValue(file, forKey: name) {
                    throw CheckpointError(file.path, "tensor \(name) is also in \(other.path)")
                }
            }
            for name in file.unreadable.keys { fileOf[name] = fileOf[name] ?? file }
        }
    }

    /// The tensor of a name, and the path of its file.
    private func tensor(_ name: String) throws -> (SourceTensor, path: String) {
        guard let file = fileOf[name] else { throw CheckpointError(directory, "has no tensor \(name)") }
        guard let tensor = file.tensors[name] else {
            try file.requireReadable(name)
            throw CheckpointError(file.path, "has no tensor \(name)")
        }
        return (tensor, file.path)
    }

    func require(_ expected: [String: [Int]], where matching: (String) -> Bool) throws {
        for (name, shape) in expected.sorted(by: { $0.key < $1.key }) {
            let (tensor, path) = try tensor(name)
            guard tensor.shape == shape else {
                throw CheckpointError(path, "tensor \(name) has the shape \(tensor.shape), not the expected \(shape)")
            }
        }
        for name in fileOf.keys.sorted() where matching(name) && expected[name] == nil {
            guard let file = fileOf[name], file.tensors[name] != nil else { continue }
            throw CheckpointError(file.path, "has the unknown tensor \(name)")
        }
    }

    func floats(_ name: String, offsets: [Int], sizes: [Int]) throws -> [Float] {
        let (tensor, path) = try tensor(name)
        guard tensor.type.isFloat else {
            throw CheckpointError(path, "tensor \(name) has elements of \(tensor.type), not a float")
        }
        let shape = tensor.shape, wide = tensor.converted(to: .f32)
        let all = try [Float](unsafeUninitializedCapacity: shape.reduce(1, *)) { buffer, count in
            try wide.read(0..<wide.byteCount, UnsafeMutableRawBufferPointer(buffer))
            count = buffer.count
        }
        guard shape != sizes else { return all }
        if shape.count == 1 { return Array(all[offsets[0]..<offsets[0] + sizes[0]]) }
        precondition(shape.count == 2, "only matrices and vectors are split over ranks")
        return (0..<sizes[0]).flatMap { row in
            let start = (offsets[0] + row) * shape[1] + offsets[1]
            return all[start..<start + sizes[1]]
        }
    }
}
