public import TransfusionCore
internal import TransfusionSupport

/// The formats that models come from and go to.
public enum WeightFormat: String, Sendable, CaseIterable {
    /// This project's checkpoints.
    case checkpoint
    /// One safetensors file or a directory of them, under this project's names, with `config.json`.
    case safetensors
    /// A Hugging Face directory of a model of the Llama family, with a side file for what a Llama does not have.
    case huggingFaceLlama = "hf-llama"
    /// Meta's names and order of rows, in `consolidated.safetensors` with `params.json`, and the same side file.
    case metaLlama = "meta-llama"

    private static let configurationName = "config.json"
    private static let parametersName = "params.json"
    private static let metaFileName = "consolidated.safetensors"

    /// The format of what lies at a path.
    /// - Throws: `CheckpointError` or `FileSystemError` when it is no model.
    public init(detectedAt path: String) throws {
        let fileSystem = POSIXFileSystem()
        let directory = WeightFile.isNamed(path) ? Paths.parent(of: path) : path
        let names = Set(try fileSystem.list(directory))
        if directory == path, CheckpointLocation.isLocation(names) {
            self = .checkpoint
        } else if names.contains(Self.parametersName), !Self.holdsHuggingFaceWeights(names) {
            self = .metaLlama
        } else if names.contains(Self.configurationName) {
            self =
                try Self.describesImages(Paths.join(directory, Self.configurationName))
                ? .safetensors : .huggingFaceLlama
        } else {
            throw CheckpointError(path, "is no model; give a run, a checkpoint, or a directory with config.json")
        }
    }

    /// Whether a `config.json` says what images are to the model, which that of a Llama does not.
    private static func describesImages(_ path: String) throws -> Bool {
        struct Description: Decodable {
            let patch_size: Int?
            let images: String?
        }
        let description: Description = try LlamaDescription.decode(path)
        return description.patch_size != nil || description.images != nil
    }

    /// Whether a directory holds a model as Hugging Face keeps it, whatever else is beside it.
    private static func holdsHuggingFaceWeights(_ names: Set<String>) -> Bool {
        names.contains(configurationName)
            && (names.contains(SafetensorsDirectory.singleName) || names.contains(SafetensorsDirectory.indexName))
    }
}

extension WeightFormat {
    /// Opens a model; its tensors are read when they are used.
    /// - Parameters:
    ///   - images: What a plain Llama does not say.
    ///   - options: How checkpoints are read.
    public func open(
        _ path: String, images: ImageOptions = ImageOptions(), options: CheckpointOptions = CheckpointOptions()
    ) throws -> ModelWeights {
        let directory = WeightFile.isNamed(path) ? Paths.parent(of: path) : path
        var weights: ModelWeights
        switch self {
        case .checkpoint:
            return try ModelWeights(CheckpointLocation(path, options: options).newest())
        case .safetensors:
            let file = Paths.join(directory, Self.configurationName)
            guard try Self.describesImages(file) else {
                throw CheckpointError(file, "describes no images, as of a Llama; its format is hf-llama")
            }
            let description: ModelDescription = try LlamaDescription.decode(file)
            let files = try SafetensorsDirectory(path)
            try files.requireReadable(description.configuration.parameterShapes.keys)
            weights = try ModelWeights(description.configuration, files.tensors).validated(from: path)
            weights.contextLength = description.contextLength
            weights.family = description.family
            weights.passedOver += files.passedOver
        case .huggingFaceLlama:
            let description = try LlamaDescription(huggingFace: Paths.join(directory, Self.configurationName))
            let files = try SafetensorsDirectory(path)
            try files.requireReadable(description.configuration(images).parameterShapes.keys)
            var tensors = files.tensors
            // A table that old versions stored and that follows from the sizes.
            tensors = tensors.filter { !$0.key.hasSuffix(".rotary_emb.inv_freq") }
            weights = try LlamaFormat.join(tensors, description, directory: directory, images: images)
            weights.passedOver += files.passedOver
        case .metaLlama:
            let files = try SafetensorsDirectory(metaLlama: path, single: Self.metaFileName), tensors = files.tensors
            guard let gate = tensors["layers.0.feed_forward.w1.weight"]?.shape.first,
                let vocabulary = tensors["tok_embeddings.weight"]?.shape.first
            else { throw CheckpointError(path, "has no tensors with the names of Meta's Llama") }
            let description = try LlamaDescription(
                meta: Paths.join(directory, Self.parametersName), feedForward: gate, vocabulary: vocabulary)
            try files.requireReadable(MetaLlamaNames.all(layers: description.layers))
            weights = try LlamaFormat.join(
                try MetaLlamaNames.fromMeta(
                    tensors, layers: description.layers, headWidth: description.headWidth, path: path),
                description, directory: directory, images: images)
            weights.passedOver += files.passedOver
        }
        try weights.takeTokenizer(from: directory)
        return weights
    }

    /// Writes a model to a path that does not exist yet; it appears there only when it is complete.
    /// - Parameters:
    ///   - type: The type of the elements; checkpoints always have f32.
    ///   - shardBytes: The most bytes of one safetensors file.
    /// - Returns: A line for each tensor that holds numbers which are not finite.
    /// - Throws: Also when a number is too large for `type`.
    @discardableResult
    public func write(
        _ weights: ModelWeights, to path: String, type: ElementType = .f32, shardBytes: Int = 5_000_000_000
    ) throws -> [String] {
        let fileSystem = POSIXFileSystem()
        // What is unfinished lies beside the place and not in it.
        let path = Paths.withoutTrailingSlash(path)
        try fileSystem.requireAbsent(path)
        var weights = weights
        let findings = NonFiniteFindings()
        for (name, tensor) in weights.tensors {
            weights.tensors[name] = tensor.converted(
                to: type, watchedBy: NumberWatch(name: name, path: path, findings: findings))
        }
        if self == .safetensors, path.hasSuffix(".safetensors") {
            try SafetensorsWriter().write(
                SafetensorsDirectory.sorted(weights.tensors), metadata: ["format": "pt"], to: path)
            return findings.lines
        }
        try fileSystem.makeDirectory(path) { partial in
            try writeContents(weights, to: partial, type: type, shardBytes: shardBytes, fileSystem)
            for file in weights.tokenizerFiles {
                let contents = try fileSystem.contents(file, limit: ModelWeights.tokenizerLimit)
                try fileSystem.write(contents, to: Paths.join(partial, Paths.name(of: file)))
            }
        }
        return findings.lines
    }

    private func writeContents(
        _ weights: ModelWeights, to directory: String, type: ElementType, shardBytes: Int,
        _ fileSystem: POSIXFileSystem
    ) throws {
        switch self {
        case .checkpoint:
            try CheckpointStore(Paths.join(directory, CheckpointLocation.checkpointsName))
                .write(weights, step: weights.step)
        case .safetensors:
            try SafetensorsDirectory.write(weights.tensors, to: directory, shardBytes: shardBytes)
            try fileSystem.write(
                try JSONText.pretty(weights.description), to: Paths.join(directory, Self.configurationName))
        case .huggingFaceLlama:
            let (configuration, llama, rest) = LlamaFormat.split(weights)
            try SafetensorsDirectory.write(llama, to: directory, shardBytes: shardBytes)
            try LlamaFormat.writeSideFile(rest, of: weights, to: directory)
            let path = Paths.join(directory, Self.configurationName)
            let family = try LlamaFamily.of(configuration, preferred: weights.family, path: path)
            try fileSystem.write(
                try LlamaDescription.huggingFace(
                    configuration, family, contextLength: weights.contextLength, type: type), to: path)
            for (name, contents) in try LlamaCompanions(configuration, weights).files() {
                try fileSystem.write(contents, to: Paths.join(directory, name))
            }
        case .metaLlama:
            let (configuration, llama, rest) = LlamaFormat.split(weights)
            try SafetensorsWriter().write(
                SafetensorsDirectory.sorted(MetaLlamaNames.toMeta(llama, configuration)),
                to: Paths.join(directory, Self.metaFileName))
            try LlamaFormat.writeSideFile(rest, of: weights, to: directory)
            try fileSystem.write(
                try LlamaDescription.meta(configuration, path: Paths.join(directory, Self.parametersName)),
                to: Paths.join(directory, Self.parametersName))
        }
    }
}

extension POSIXFileSystem {
    func requireAbsent(_ path: String) throws {
        guard !exists(Paths.name(of: path), in: Paths.parent(of: path)) else {
            throw CheckpointError(path, "already exists; choose another place or remove it")
        }
    }

    /// Makes a directory at a path that does not exist yet; it appears there only when `fill` has put everything into the
    /// directory that it is given.
    func makeDirectory(_ path: String, _ fill: (String) throws -> Void) throws {
        // What is unfinished lies beside the place and not in it.
        let path = Paths.withoutTrailingSlash(path)
        try requireAbsent(path)
        let partial = path + ".partial"
        try? removeConversion(partial)
        do {
            try createDirectories(partial)
            try fill(partial)
            try synchronize(directory: partial)
            try rename(partial, to: path)
            try synchronize(directory: Paths.parent(of: path))
        } catch {
            try? removeConversion(partial)
            throw error
        }
    }

    /// Removes what an interrupted conversion left: files, and a checkpoint two directories deep.
    fileprivate func removeConversion(_ path: String) throws {
        for name in try list(path) {
            let inner = Paths.join(path, name)
            if (try? list(inner)) != nil { try removeConversion(inner) } else { try removeFile(inner) }
        }
        try removeDirectory(path)
    }
}
