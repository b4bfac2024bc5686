internal import TransfusionCore

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
        var metadata = metadata
        metadata.layout = ["data": data, "tensor": tensor]
        try store.begin(step: step, collectives)
        let outcome = Result {
            try (0..<data * tensor).flatMap { rank in
                try store.writeShard(
                    step: step, rank: rank, pieces(rank: rank, data: data, tensor: tensor))
            }
        }
        return try store.commit(step: step, metadata: metadata, outcome, collectives)
    }

    /// Copies the files of the run's tokenizer, so that the result can be used without the run; those that are there
    /// already stay.
    public func copyTokenizer(to directory: String) throws {
        let fileSystem = POSIXFileSystem()
        for file in ModelWeights.tokenizerFiles(of: self) {
            let name = Path.name(of: file)
            guard !fileSystem.exists(name, in: directory) else { continue }
            let contents = try fileSystem.contents(file, limit: ModelWeights.tokenizerLimit)
            try fileSystem.write(contents, to: Path.join(directory, name))
        }
    }

    private func pieces(rank: Int, data: Int, tensor: Int) -> [ShardPiece] {
        let (dataRank, tensorRank) = (rank / tensor, rank % tensor)
        return tensors.values.sorted { $0.name < $1.name }.flatMap { whole -> [ShardPiece] in
            var slice = whole
            if let axis = Self.splitAxis(whole) {
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

    /// The axis that tensor parallelism splits: outputs of the projections into a block, inputs of those out of it.
    private static func splitAxis(_ tensor: TensorBox) -> Int? {
        guard tensor.sizes.count == 2 else { return nil }
        if ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"].contains(where: tensor.name.contains) { return 0 }
        return ["o_proj", "down_proj"].contains(where: tensor.name.contains) ? 1 : nil
    }

    private static func part(_ index: Int, of parts: Int, _ count: Int) -> Range<Int> {
        count * index / parts..<count * (index + 1) / parts
    }
}
