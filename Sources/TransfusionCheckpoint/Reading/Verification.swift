import TransfusionSupport

extension Checkpoint {
    /// Reads every byte and compares it with the manifest; throws at the first difference.
    public func verify() throws {
        try verify(part: 0, of: 1)
    }

    /// Verifies every `parts`-th chunk from number `part`. Files that are missing, extra or of another size are found
    /// in every part.
    func verify(part: Int, of parts: Int) throws {
        try checkFileList()
        let files = try openFiles(manifest.files.keys)
        let mine = chunks().enumerated().filter { $0.offset % parts == part }.map(\.element)
        try Pipeline.run(count: mine.count, threads: options.threads) { index in
            let chunk = mine[index]
            guard let file = files[chunk.file] else { return }
            try withStoredChunk(chunk, file) { _ in }
        } consume: { _, _ in
        }
    }

    /// Everything that is wrong, instead of the first thing only: a line for each file and chunk.
    public func problems(progress: (_ done: Int, _ of: Int) -> Void = { _, _ in }) -> [CheckpointError] {
        var problems: [CheckpointError] = []
        func attempt(_ body: () throws -> Void) {
            do { try body() } catch { problems.append(CheckpointError(error, at: path)) }
        }
        attempt { try checkFileList() }
        var files: [String: any ReadableFile] = [:]
        for name in manifest.files.keys.sorted() {
            attempt { files.merge(try openFiles([name])) { $1 } }
        }
        let readable = files
        let chunks = chunks().filter { readable[$0.file] != nil }
        attempt {
            try Pipeline.run(count: chunks.count, threads: options.threads) { index -> CheckpointError? in
                guard let file = readable[chunks[index].file] else { return nil }
                do {
                    try withStoredChunk(chunks[index], file) { _ in }
                    return nil
                } catch {
                    return CheckpointError(error, at: path)
                }
            } consume: { index, problem in
                if let problem { problems.append(problem) }
                progress(index + 1, chunks.count)
            }
        }
        return problems
    }

    /// All chunks in file order.
    private func chunks() -> [ChunkPlace] {
        manifest.tensors
            .flatMap { name, tensor in
                tensor.boxes.flatMap {
                    ChunkPlace.all(of: $0, tensor: name, type: tensor.type, chunkBytes: manifest.chunkBytes)
                }
            }
            .sorted { ($0.file, $0.fileOffset) < ($1.file, $1.fileOffset) }
    }

    private func checkFileList() throws {
        let present: Set<String>
        do throws(FileSystemError) {
            present = Set(try fileSystem.list(path))
        } catch {
            // What is held open can be read although retention has removed it.
            if error.isMissing, !held.isEmpty { return }
            throw error
        }
        let expected = Set(manifest.files.keys).union([Manifest.fileName])
        if let missing = expected.subtracting(present).min() {
            throw CheckpointError(Paths.join(path, missing), "is missing")
        }
        // File servers and backup programs leave names with a dot.
        if let extra = present.subtracting(expected).filter({ !$0.hasPrefix(".") }).min() {
            throw CheckpointError(Paths.join(path, extra), "does not belong to the checkpoint")
        }
    }
}
