internal import TransfusionCore
internal import TransfusionSupport

/// The files that Meta keeps a Llama in: `consolidated.00.pth`, `consolidated.01.pth` …, one for each rank that trained it.
///
/// ### References
/// meta-llama/llama: columns of a ColumnParallelLinear are rows of its weight, those of a RowParallelLinear its columns; an
/// embedding is cut along its width in Llama 1 and 2, and along the vocabulary in Llama 3.
enum MetaLlamaShards {
    private static let prefix = "consolidated."
    /// What a product's weight is called, and the axis along which it is cut.
    private static let axes = [
        "wq": 0, "wk": 0, "wv": 0, "w1": 0, "w3": 0, "output": 0, "wo": 1, "w2": 1,
    ]

    /// The files of a directory with such names, in order.
    /// - Throws: `CheckpointError` that names the first one that is missing.
    static func names(in names: some Sequence<String>, path: String) throws -> [String] {
        let shards = names.compactMap { name -> (number: Int, name: String)? in
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard name.hasPrefix(prefix), WeightFile.isNamed(name), parts.count == 3, parts[1].utf8.count == 2,
                let number = Int(parts[1])
            else { return nil }
            return (number, name)
        }.sorted { ($0.number, $0.name) < ($1.number, $1.name) }
        for (index, shard) in shards.enumerated() where shard.number != index {
            throw CheckpointError(
                path,
                shard.number < index
                    ? "holds two files with the number \(shard.number), one of them \(shard.name); keep one"
                    : "holds \(shard.name), but not the file with the number \(index) before it; get it too")
        }
        return shards.map(\.name)
    }

    /// The tensors of a model of the parts that the files have, in order.
    static func join(_ files: [WeightFile], path: String) throws -> [String: SourceTensor] {
        guard let first = files.first else { return [:] }
        for file in files {
            let names = Set(file.tensors.keys).symmetricDifference(first.tensors.keys)
            if let name = names.min() {
                throw CheckpointError(
                    file.path, "has not the tensors of \(Paths.name(of: first.path)): one of both lacks \(name)")
            }
        }
        try checkCount(first, files.count, path)
        let width = first.tensors["norm.weight"]?.shape.first
        var joined: [String: SourceTensor] = [:]
        for (name, tensor) in first.tensors {
            let parts = files.compactMap { $0.tensors[name] }
            guard parts.allSatisfy({ $0.type == tensor.type && $0.shape == tensor.shape }) else {
                throw CheckpointError(path, "has the tensor \(name) in parts of different shapes or types")
            }
            let layer = name.split(separator: ".").dropLast().last.map(String.init) ?? ""
            switch layer == "tok_embeddings" ? (tensor.shape.last == width ? 0 : 1) : axes[layer] {
            case 0?: joined[name] = parts.dropFirst().reduce(tensor) { $0.followed(by: $1) }
            case 1? where tensor.shape.count == 2: joined[name] = SourceTensor(besideEachOther: parts)
            default:
                // Every rank has all of it.
                guard try parts.allSatisfy({ try $0.hasEqualBits(tensor) }) else {
                    throw CheckpointError(path, "has the tensor \(name) in each file, with different numbers")
                }
                joined[name] = tensor
            }
        }
        return joined
    }

    /// Refuses fewer files, or more, than the model was cut into, which the width of a part tells.
    private static func checkCount(_ file: WeightFile, _ count: Int, _ path: String) throws {
        guard let part = file.tensors["layers.0.attention.wo.weight"]?.shape, part.count == 2, part[1] > 0 else {
            return
        }
        let whole = part[0]
        guard whole != part[1] * count else { return }
        throw CheckpointError(
            path,
            "holds \(count) of the files consolidated.NN.pth, but the model was cut into \(whole / part[1]); put all of them, "
                + "and no others, there")
    }
}

extension SourceTensor {
    /// Matrices of equal shape, the columns of each after those of the one before it.
    init(besideEachOther parts: [SourceTensor]) {
        let first = parts[0], rows = first.shape[0]
        let partBytes = first.byteCount / max(1, rows), rowBytes = partBytes * parts.count
        self.init(first.type, [rows, first.shape[1] * parts.count]) { range, buffer in
            guard !range.isEmpty else { return }
            let needed = range.lowerBound / rowBytes..<(range.upperBound + rowBytes - 1) / rowBytes
            var bytes = [UInt8](repeating: 0, count: needed.count * partBytes)
            for (number, part) in parts.enumerated() {
                try bytes.withUnsafeMutableBytes {
                    try part.read(needed.lowerBound * partBytes..<needed.upperBound * partBytes, $0)
                }
                bytes.withUnsafeBytes { bytes in
                    for row in needed {
                        let place = row * rowBytes + number * partBytes
                        let wanted = (place..<place + partBytes).clamped(to: range)
                        guard !wanted.isEmpty else { continue }
                        let start = (row - needed.lowerBound) * partBytes + wanted.lowerBound - place
                        UnsafeMutableRawBufferPointer(rebasing: buffer[(wanted.lowerBound - range.lowerBound)...])
                            .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + wanted.count]))
                    }
                }
            }
        }
    }
}
