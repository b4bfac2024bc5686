internal import FoundationEssentials
internal import TransfusionCore

/// Tensors in one or more safetensors files of a directory, with an index when there is more than one.
///
/// ### References
/// The layout that Hugging Face's libraries write: `model.safetensors`, or `model-00001-of-0000N.safetensors` with
/// `model.safetensors.index.json`.
struct SafetensorsDirectory {
    static let singleName = "model.safetensors"
    static let indexName = "model.safetensors.index.json"
    private static let jsonLimit = 64 << 20

    let path: String
    let tensors: [String: SourceTensor]

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

    /// Opens a file, or a directory with an index or a single file.
    init(_ path: String) throws {
        self.path = path
        if path.hasSuffix(".safetensors") {
            tensors = Self.tensors(of: try SafetensorsFile(path))
            return
        }
        let fileSystem = POSIXFileSystem()
        let names = Set(try fileSystem.list(path))
        guard names.contains(Self.indexName) else {
            let files = names.filter { $0.hasSuffix(".safetensors") && $0 != LlamaFormat.sideFileName }.sorted()
            guard let file = files.contains(Self.singleName) ? Self.singleName : files.first, files.count == 1 else {
                let pickles = names.contains { $0.hasSuffix(".bin") || $0.hasSuffix(".pth") || $0.hasSuffix(".pt") }
                throw CheckpointError(
                    path,
                    files.isEmpty
                        ? (pickles
                            ? "holds pickled weights, which can run code; convert them with safetensors.torch.save_file"
                            : "holds no .safetensors file")
                        : "holds several .safetensors files but no \(Self.indexName)")
            }
            tensors = Self.tensors(of: try SafetensorsFile(Path.join(path, file)))
            return
        }
        let indexPath = Path.join(path, Self.indexName)
        let index: Index
        do {
            let json = try fileSystem.contents(indexPath, limit: Self.jsonLimit)
            index = try JSONDecoder().decode(Index.self, from: Data(json))
        } catch let error as DecodingError {
            throw CheckpointError(indexPath, "cannot be understood: \(JSONProblem(error))")
        }
        var tensors: [String: SourceTensor] = [:]
        for name in Set(index.weights.values).sorted() {
            guard !name.contains("/"), names.contains(name) else {
                throw CheckpointError(indexPath, "names the file '\(name)', which is not there")
            }
            tensors.merge(Self.tensors(of: try SafetensorsFile(Path.join(path, name)))) { $1 }
        }
        for name in index.weights.keys.sorted() where tensors[name] == nil {
            throw CheckpointError(indexPath, "names the tensor \(name), which no file holds")
        }
        self.tensors = tensors
    }

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
            return try writer.write(shards[0], metadata: ["format": "pt"], to: Path.join(directory, singleName))
        }
        var weights: [String: String] = [:]
        func padded(_ number: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
        }
        for (index, shard) in shards.enumerated() {
            let name = "model-\(padded(index + 1))-of-\(padded(shards.count)).safetensors"
            try writer.write(shard, metadata: ["format": "pt"], to: Path.join(directory, name))
            for tensor in shard { weights[tensor.name] = name }
        }
        let index = Index(weights: weights, totalSize: tensors.values.reduce(0) { $0 + $1.byteCount })
        try POSIXFileSystem().replace(
            Path.join(directory, indexName), with: try JSONText.pretty(index))
    }

    static func sorted(_ tensors: [String: SourceTensor]) -> [SafetensorsTensor] {
        tensors.sorted { $0.key < $1.key }.map { name, tensor in
            SafetensorsTensor(name, tensor.type, tensor.shape, fill: tensor.read)
        }
    }
}

/// JSON for people: keys in order, one to a line.
enum JSONText {
    static func pretty(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        return Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
    }
}
