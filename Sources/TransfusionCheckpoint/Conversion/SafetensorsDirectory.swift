internal import FoundationEssentials
internal import TransfusionCore
internal import TransfusionSupport

/// Tensors in one or more files of weights of a directory, with an index when there is more than one: safetensors, or where there
/// are none, what `torch.save` wrote.
///
/// ### References
/// The layout that Hugging Face's libraries write: `model.safetensors`, or `model-00001-of-0000N.safetensors` with
/// `model.safetensors.index.json`; before that `pytorch_model.bin`.
struct SafetensorsDirectory {
    static let singleName = "model.safetensors"
    static let indexName = "model.safetensors.index.json"
    private static let indexNames = [indexName, "pytorch_model.bin.index.json"]
    /// What training programs save beside the weights.
    private static let companions = ["training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states"]
    private static let jsonLimit = 64 << 20

    let path: String
    let tensors: [String: SourceTensor]
    /// What is there and no part of the model: tensors of types that no weights have, and other files.
    private(set) var passedOver: [String]
    /// The files of tensors with elements that are not read here.
    private let unreadable: [String: WeightFile]

    private struct Index: Codable {
        var metadata: [String: Int] = [:]
        var weights: [String: String]

        enum CodingKeys: String, CodingKey {
            case metadata
            case weights = "weight_map"
        }

        init(weights: [String: String], totalSize: Int) {
            self.weights = weights
            metadata = ["total_size": totalSize]
        }

        init(from decoder: any Decoder) throws {
            weights = try decoder.container(keyedBy: CodingKeys.self).decode([String: String].self, forKey: .weights)
        }
    }

    /// Opens a file, or a directory with a single file or an index.
    /// - Parameter single: What the file is called that holds all of a model; others beside it are not the model's.
    init(_ path: String, single: String = Self.singleName) throws {
        if WeightFile.isNamed(path) {
            self.init(path, files: [try WeightFile(path)])
            return
        }
        let names = Set(try POSIXFileSystem().list(path))
        if !names.contains(single), let index = Self.indexNames.first(where: names.contains) {
            try self.init(path, indexedBy: index, names)
            return
        }
        var files = names.filter { $0.hasSuffix(".safetensors") && $0 != LlamaFormat.sideFileName }
        if files.allSatisfy(Self.isAdapter) {
            let archives = names.filter { name in
                PyTorchArchive.isNamed(name) && !Self.companions.contains(where: name.hasPrefix)
            }
            files.formUnion(archives)
        }
        let models = files.filter { !Self.isAdapter($0) }
        guard let file = files.contains(single) ? single : models.first, files.contains(single) || models.count == 1
        else { throw CheckpointError(path, Self.problem(files: files, models: models)) }
        self.init(path, files: [try WeightFile(Paths.join(path, file))])
        passedOver += files.subtracting([file]).sorted()
    }

    /// Opens a Llama as Meta keeps it: in one file, or cut into numbered ones.
    init(metaLlama path: String, single: String) throws {
        let names = WeightFile.isNamed(path) ? [] : try POSIXFileSystem().list(path)
        let shards = names.contains(single) ? [] : try MetaLlamaShards.names(in: names, path: path)
        guard !shards.isEmpty else {
            try self.init(path, single: single)
            return
        }
        let files = try shards.map { try WeightFile(Paths.join(path, $0)) }
        self.init(path, files: files, tensors: try MetaLlamaShards.join(files, path: path))
    }

    private init(_ path: String, files: [WeightFile]) {
        self.init(path, files: files, tensors: files.reduce(into: [:]) { $0.merge($1.tensors) { $1 } })
    }

    private init(_ path: String, files: [WeightFile], tensors: [String: SourceTensor]) {
        self.path = path
        self.tensors = tensors
        unreadable = files.reduce(into: [:]) { all, file in
            for name in file.unreadable.keys { all[name] = file }
        }
        passedOver = unreadable.sorted { $0.key < $1.key }.map { name, file in
            "the tensor \(name) (\(file.unreadable[name] ?? ""))"
        }
    }

    private init(_ path: String, indexedBy indexName: String, _ names: Set<String>) throws {
        let indexPath = Paths.join(path, indexName)
        let index: Index
        do {
            let json = try POSIXFileSystem().contents(indexPath, limit: Self.jsonLimit)
            index = try JSONDecoder().decode(Index.self, from: Data(json))
        } catch let error as DecodingError {
            throw CheckpointError(indexPath, "cannot be understood: \(JSONProblem(error))")
        }
        let files = try Set(index.weights.values).sorted().map { name in
            guard !name.contains("/"), names.contains(name) else {
                throw CheckpointError(indexPath, "names the file '\(name)', which is not there")
            }
            return try WeightFile(Paths.join(path, name))
        }
        self.init(path, files: files)
        for name in index.weights.keys.sorted() where tensors[name] == nil && unreadable[name] == nil {
            throw CheckpointError(indexPath, "names the tensor \(name), which no file holds")
        }
    }

    /// What PEFT calls the weights that it trains beside a model's.
    private static func isAdapter(_ name: String) -> Bool { name.hasPrefix("adapter_") }

    /// Why none of the files of a directory is the model.
    private static func problem(files: Set<String>, models: Set<String>) -> String {
        if let model = models.min(), models.count > 1 {
            return "holds several files of weights, such as \(model), but no \(indexName); give the path of one of them"
        }
        if let adapter = files.min() {
            return "holds only \(adapter), which is no model but an adapter; merge it into its model with PEFT's "
                + "merge_and_unload and save that"
        }
        return "holds no .safetensors file and none of PyTorch"
    }

    /// Those of all tensors, also of types that are not read here.
    var names: [String] { (Array(tensors.keys) + Array(unreadable.keys)).sorted() }

    /// Refuses a tensor that is there, but of a type that is not read here.
    func requireReadable(_ names: some Sequence<String>) throws {
        for name in names.sorted() { try unreadable[name]?.requireReadable(name) }
    }

    /// Refuses tensors of types that are not read here.
    func requireAllReadable() throws { try requireReadable(unreadable.keys) }

    static func tensors(of file: SafetensorsFile) -> [String: SourceTensor] {
        Dictionary(uniqueKeysWithValues: file.entries.map { ($0.name, SourceTensor($0, of: file)) })
    }

    /// Writes tensors into files of at most `shardBytes` each (but at least one tensor), and the index.
    static func write(
        _ tensors: [String: SourceTensor], to directory: String, shardBytes: Int
    ) throws {
        var shards: [[SafetensorsTensor]] = [[]]
        var bytes = 0
        for tensor in sorted(tensors) {
            if bytes > 0, bytes + tensor.byteCount > shardBytes {
                shards.append([])
                bytes = 0
            }
            shards[shards.count - 1].append(tensor)
            bytes += tensor.byteCount
        }
        let writer = SafetensorsWriter()
        guard shards.count > 1 else {
            return try writer.write(shards[0], metadata: ["format": "pt"], to: Paths.join(directory, singleName))
        }
        var weights: [String: String] = [:]
        func padded(_ number: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
        }
        for (index, shard) in shards.enumerated() {
            let name = "model-\(padded(index + 1))-of-\(padded(shards.count)).safetensors"
            try writer.write(shard, metadata: ["format": "pt"], to: Paths.join(directory, name))
            for tensor in shard { weights[tensor.name] = name }
        }
        let index = Index(weights: weights, totalSize: tensors.values.reduce(0) { $0 + $1.byteCount })
        try POSIXFileSystem().replace(
            Paths.join(directory, indexName), with: try JSONText.pretty(index))
    }

    static func sorted(_ tensors: [String: SourceTensor]) -> [SafetensorsTensor] {
        tensors.sorted { $0.key < $1.key }.map { name, tensor in
            SafetensorsTensor(name, tensor.type, tensor.shape, fill: tensor.read)
        }
    }
}
