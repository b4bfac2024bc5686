internal import FoundationEssentials
public import TransfusionCore
public import TransfusionModels
internal import TransfusionSupport

/// The weights of an autoencoder, wherever they are: in a checkpoint of a run, or in a directory of diffusers.
public struct AutoencoderWeights: Sendable {
    /// The checkpoint's directory, or that of diffusers.
    public let path: String
    public let configuration: AutoencoderConfiguration
    /// The parameters under diffusers' names.
    public let tensors: [String: SourceTensor]
    /// The training step, when the weights come from a run.
    public let step: Int?
    /// What lies beside the weights and was not read, in words.
    public private(set) var passedOver: [String] = []

    /// What the names of the average of a run's weights begin with.
    public static let averagePrefix = "average."
    static let configurationName = "config.json"
    /// The file that holds an autoencoder beside latents, and beside a model that was trained on them.
    public static let copyName = "autoencoder.safetensors"
    /// Of the metadata of such a file.
    private static let configurationKey = "config"
    static let weightsName = "diffusion_pytorch_model.safetensors"

    /// Opens an autoencoder; its tensors are read when they are used.
    ///
    /// - Parameter path: A run, its checkpoints, one checkpoint, a directory as diffusers saves it, a data set of latents or a run
    ///   that was trained on one, which have a copy of their autoencoder, or a file of weights,
    ///   safetensors or of PyTorch, which may have the names of Latent Diffusion. A `config.json` beside a file describes it; without one it is
    ///   described by the shapes of its tensors.
    /// - Parameter options: How checkpoints are read.
    /// - Throws: `CheckpointError` or `FileSystemError`, which name the file and what is wrong with it.
    public init(_ path: String, options: CheckpointOptions = CheckpointOptions()) throws {
        if WeightFile.isNamed(path) {
            try self.init(file: path, directory: Paths.parent(of: path))
            return
        }
        let names = Set(try POSIXFileSystem().list(path))
        if names.contains(Self.copyName) {
            try self.init(file: Paths.join(path, Self.copyName), directory: path)
        } else if CheckpointLocation.isLocation(names) {
            try self.init(CheckpointLocation(path, options: options).newest())
        } else if names.contains(Self.configurationName) {
            try self.init(diffusers: path)
        } else {
            throw CheckpointError(
                path,
                "is no autoencoder; give a run, a checkpoint, or a directory with config.json and \(Self.weightsName)")
        }
    }

    /// The autoencoder of a training checkpoint, its average where there is one, without the state of the optimizer and the discriminator.
    public init(_ checkpoint: Checkpoint) throws {
        let configuration: AutoencoderConfiguration
        do {
            let json = try JSONEncoder().encode(checkpoint.metadata.model)
            configuration = try JSONDecoder().decode(AutoencoderConfiguration.self, from: json)
        } catch {
            throw CheckpointError(checkpoint.path, "holds no autoencoder: \(JSONProblem(error))")
        }
        try Self.require(configuration, checkpoint.path)
        let shapes = configuration.parameterShapes, average = Self.averagePrefix
        let others = [
            ModelWeights.optimizerPrefix, PatchDiscriminator.prefix, average, Autoencoder.codebookStatePrefix,
        ]
        try checkpoint.require(shapes) { name in !others.contains(where: name.hasPrefix) }
        // Where the run keeps an average of its weights, that is what others use.
        let hasAverage = checkpoint.tensors.keys.contains { $0.hasPrefix(average) }
        func stored(_ name: String) -> String {
            // A codebook that is an average already has no other one.
            let isPlain = name == Autoencoder.codebookName && checkpoint.tensors[average + name] == nil
            return hasAverage && !isPlain ? average + name : name
        }
        try checkpoint.require(
            Dictionary(uniqueKeysWithValues: shapes.map { (stored($0), $1) })
        ) { $0.hasPrefix(average) }
        try self.init(
            checkpoint.path, configuration,
            Dictionary(
                uniqueKeysWithValues: shapes.keys.compactMap { name in
                    checkpoint.tensors[stored(name)].map { (name, SourceTensor($0, of: checkpoint)) }
                }), step: checkpoint.step)
    }

    private init(diffusers directory: String) throws {
        let files = try SafetensorsDirectory(directory, single: Self.weightsName)
        try self.init(files, directory: directory, described: true)
    }

    private init(file: String, directory: String) throws {
        if Paths.name(of: file) == Self.copyName {
            try self.init(copy: file)
            return
        }
        try self.init(
            try SafetensorsDirectory(file), directory: directory,
            described: POSIXFileSystem().exists(Self.configurationName, in: directory))
    }

    private init(copy path: String) throws {
        let file = try SafetensorsFile(path)
        guard let json = file.metadata[Self.configurationKey] else {
            throw CheckpointError(
                path, "does not describe the autoencoder that it holds; make it anew with 'tf-data encode'")
        }
        let configuration: AutoencoderConfiguration
        do {
            configuration = try JSONDecoder().decode(AutoencoderConfiguration.self, from: Data(json.utf8))
        } catch {
            throw CheckpointError(path, "describes no autoencoder: \(JSONProblem(error))")
        }
        try Self.require(configuration, path)
        try self.init(path, configuration, SafetensorsDirectory.tensors(of: file), step: nil)
    }

    private init(_ files: SafetensorsDirectory, directory: String, described: Bool) throws {
        let (tensors, passedOver) = try AutoencoderNames.diffusers(files.tensors, files.path)
        let configuration: AutoencoderConfiguration
        if described {
            let file = Paths.join(directory, Self.configurationName)
            configuration = try LlamaDescription.decode(file)
            try Self.require(configuration, file)
        } else {
            configuration = try AutoencoderConfiguration(shapes: tensors.mapValues(\.shape), of: files.path)
            try Self.require(configuration, files.path)
        }
        try files.requireReadable(configuration.parameterShapes.keys)
        try self.init(files.path, configuration, tensors, step: nil)
        self.passedOver = files.passedOver + passedOver
    }

    /// Refuses weights that are not exactly those of the configuration.
    private init(
        _ path: String, _ configuration: AutoencoderConfiguration, _ tensors: [String: SourceTensor], step: Int?
    ) throws {
        try tensors.require(configuration.parameterShapes, of: path)
        self.path = path
        self.configuration = configuration
        self.tensors = tensors
        self.step = step
    }

    private static func require(_ configuration: AutoencoderConfiguration, _ path: String) throws {
        if let problem = configuration.problems().first {
            throw CheckpointError(path, "describes an impossible autoencoder: \(problem)")
        }
    }

    /// Fills every parameter of an autoencoder of `configuration`.
    public func load(into store: ParameterStore) throws { try tensors.load(into: store) }
}

extension AutoencoderWeights {
    /// Writes the autoencoder as a run with one checkpoint, as f32, from which a run can start.
    public func writeCheckpoint(to path: String) throws -> [String] {
        try Self.write(tensors, to: path, type: .f32) { tensors, directory in
            let pieces = tensors.sorted { $0.key < $1.key }.map { name, tensor in
                ShardPiece(TensorBox(name: name, type: .f32, shape: tensor.shape), fill: tensor.read)
            }
            let store = CheckpointStore(Paths.join(directory, CheckpointLocation.checkpointsName))
            try store.save(
                step: step ?? 0, metadata: CheckpointMetadata(autoencoder: configuration), pieces: pieces)
        }
    }

    /// Writes the autoencoder as one file that describes itself, `copyName`, as f32.
    public func writeCopy(to path: String) throws {
        try SafetensorsWriter().write(
            SafetensorsDirectory.sorted(tensors.mapValues { $0.converted(to: .f32) }),
            metadata: ["format": "pt", Self.configurationKey: try JSONText.line(configuration)], to: path)
    }

    /// SHA-256 of what the autoencoder computes with: its configuration, and names, shapes and values of its tensors as f32. It does
    /// not depend on the files that hold them.
    public func digest() throws -> String {
        var text = try JSONText.line(configuration) + "\n"
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            let wide = tensor.converted(to: .f32)
            let values = UnsafeMutableRawBufferPointer.allocate(byteCount: wide.byteCount, alignment: 64)
            defer { values.deallocate() }
            try wide.read(0..<wide.byteCount, values)
            text += "\(name) \(tensor.shape) \(SHA256.hexDigest(UnsafeRawBufferPointer(values)))\n"
        }
        return SHA256.hexDigest(Array(text.utf8))
    }

    /// Writes the autoencoder as diffusers saves one.
    ///
    /// Codes of which the angle alone counts are written with a length of 1: diffusers' `VQModel`, which knows no such thing, then
    /// finds the same codes and makes the same pictures.
    /// - Parameter type: Of the elements.
    /// - Returns: A line for each tensor that holds numbers which are not finite.
    /// - Throws: Also for an autoencoder that diffusers' classes cannot hold.
    public func writeDiffusers(to path: String, type: ElementType = .f32) throws -> [String] {
        if configuration.kind == .kl, let features = configuration.featureChannels {
            throw CheckpointError(
                self.path,
                "has z_channels of \(features) between its encoder and \(configuration.latentChannels) latent channels, "
                    + "which AutoencoderKL of diffusers cannot hold")
        }
        var exported = self.tensors
        // Of codes of length 1 the nearest to a feature is the nearest to the feature of length 1 too.
        if configuration.codeNorm == .l2, let codes = exported[Autoencoder.codebookName] {
            exported[Autoencoder.codebookName] = try codes.scaledToUnitRows()
        }
        return try Self.write(exported, to: path, type: type) { tensors, directory in
            try SafetensorsWriter().write(
                SafetensorsDirectory.sorted(tensors), metadata: ["format": "pt"],
                to: Paths.join(directory, Self.weightsName))
            try POSIXFileSystem().write(
                try JSONText.pretty(configuration), to: Paths.join(directory, Self.configurationName))
        }
    }

    /// Makes a directory that appears at `path` only when it is complete.
    private static func write(
        _ tensors: [String: SourceTensor], to path: String, type: ElementType,
        _ fill: ([String: SourceTensor], String) throws -> Void
    ) throws -> [String] {
        let findings = NonFiniteFindings()
        var watched = tensors
        for (name, tensor) in tensors {
            watched[name] = tensor.converted(
                to: type, watchedBy: NumberWatch(name: name, path: path, findings: findings))
        }
        try POSIXFileSystem().makeDirectory(path) { try fill(watched, $0) }
        return findings.lines
    }
}

extension SourceTensor {
    /// The rows of a matrix with a length of 1, in f32; held in memory. A row that is shorter than 1e-12 is divided by that.
    fileprivate func scaledToUnitRows() throws -> SourceTensor {
        let wide = converted(to: .f32), width = max(1, shape[1])
        var values = [Float](repeating: 0, count: shape[0] * shape[1])
        try values.withUnsafeMutableBytes { try wide.read(0..<wide.byteCount, $0) }
        for start in stride(from: 0, to: values.count, by: width) {
            let squares = values[start..<start + width].reduce(0.0) { $0 + Double($1) * Double($1) }
            for index in start..<start + width {
                values[index] = Float(Double(values[index]) / max(squares.squareRoot(), 1e-12))
            }
        }
        return SourceTensor(.f32, shape) { [values] range, buffer in
            values.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range])) }
        }
    }
}

extension CheckpointMetadata {
    /// The metadata of an autoencoder's checkpoint.
    public init(
        autoencoder: AutoencoderConfiguration, data: String? = nil, layout: [String: Int] = [:],
        scalars: [String: JSONValue] = [:]
    ) throws {
        let json = try JSONEncoder().encode(autoencoder)
        self.init(
            model: try JSONDecoder().decode(JSONValue.self, from: json), data: data, layout: layout, scalars: scalars)
    }
}

extension AutoencoderConfiguration {
    /// The name and shape of every parameter of such an autoencoder.
    public var parameterShapes: [String: [Int]] {
        Dictionary(uniqueKeysWithValues: Autoencoder.parameters(self).map { ($0.name, $0.globalShape) })
    }
}
