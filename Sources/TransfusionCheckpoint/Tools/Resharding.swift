internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionSupport

extension Checkpoint {
    /// Writes this checkpoint again as a job of `data × tensor` ranks would: one shard file for each.
    ///
    /// Every layout loads into every layout, so this is never needed; it makes files that suit the storage, and
    /// changes the compression. Memory in use is a few chunks.
    public func reshard(into store: CheckpointStore, data: Int, tensor: Int) throws -> SavedCheckpoint {
        precondition(data > 0 && tensor > 0)
        guard try !store.steps().contains(step) else {
            throw CheckpointError(store.path(step), "already exists; choose another place or remove it")
        }
        let collectives = SingleRank()
        let axes = splitAxes()
        var metadata = metadata
        metadata.layout = ["data": data, "tensor": tensor]
        try store.begin(step: step, collectives)
        let outcome = Result {
            try (0..<data * tensor).flatMap { rank in
                try store.writeShard(
                    step: step, rank: rank, pieces(rank: rank, data: data, tensor: tensor, axes))
            }
        }
        return try store.commit(step: step, metadata: metadata, outcome, collectives)
    }

    /// Copies the files of the run's tokenizer, so that the result can be used without the run; those that are there
    /// already stay.
    public func copyTokenizer(to directory: String) throws {
        let fileSystem = POSIXFileSystem()
        for file in ModelWeights.tokenizerFiles(of: self) {
            let name = Paths.name(of: file)
            guard !fileSystem.exists(name, in: directory) else { continue }
            let contents = try fileSystem.contents(file, limit: ModelWeights.tokenizerLimit)
            try fileSystem.write(contents, to: Paths.join(directory, name))
        }
    }

    private func pieces(rank: Int, data: Int, tensor: Int, _ axes: [String: Int]) -> [ShardPiece] {
        let (dataRank, tensorRank) = (rank / tensor, rank % tensor)
        return tensors.values.sorted { $0.name < $1.name }.flatMap { whole -> [ShardPiece] in
            var slice = whole
            if whole.sizes.count == 2, let axis = axes[Self.parameterName(of: whole)] {
                let range = Self.part(tensorRank, of: tensor, whole.sizes[axis])
                slice.offsets[axis] = range.lowerBound
                slice.sizes[axis] = range.count
            } else if tensorRank > 0 {
                return []
            }
            return slice.boxes(ofFlatRange: Self.part(dataRank, of: data, slice.count)).map { box in
                ShardPiece(box) { range, buffer in
                    let width = box.type.byteCount
                    var done = 0
                    let parts = box.boxes(ofFlatRange: range.lowerBound / width..<range.upperBound / width)
                    try read(
                        parts.map { part in
                            defer { done += part.byteCount }
                            return ReadRequest(
                                part,
                                into: UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + part.byteCount]))
                        })
                }
            }
        }
    }

    /// The axis that tensor parallelism splits of each parameter, where it splits one; none when the checkpoint holds no
    /// Transfusion model.
    private func splitAxes() -> [String: Int] {
        guard let model = try? modelConfiguration() else { return [:] }
        return TransfusionModel.parameters(model, tensorSize: 2).reduce(into: [:]) { $0[$1.name] = $1.shard.axis }
    }

    /// The parameter that a tensor holds, or that the optimizer keeps it for, as in `optimizer.exp_avg.NAME`.
    private static func parameterName(of tensor: TensorBox) -> String {
        guard tensor.name.hasPrefix(ModelWeights.optimizerPrefix) else { return tensor.name }
        return tensor.name.split(separator: ".", maxSplits: 2).last.map(String.init) ?? tensor.name
    }

    private static func part(_ index: Int, of parts: Int, _ count: Int) -> Range<Int> {
        count * index / parts..<count * (index + 1) / parts
    }
}
