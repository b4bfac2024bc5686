extension PackedDataset {
    /// Reads every byte of a data set: sizes, digests, and that every index stays inside the data.
    /// - Returns: Everything that is wrong, one line each; empty when the data set is as it was written.
    public static func verify(
        _ path: String, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
    ) -> [DataError] {
        let manifest: DatasetManifest
        do throws(DataError) {
            manifest = try DatasetManifest.read(path + "/" + DatasetManifest.fileName)
        } catch {
            return [error]
        }
        var problems: [DataError] = []
        func attempt(_ check: () throws(DataError) -> Void) {
            do throws(DataError) { try check() } catch { problems.append(error) }
        }
        let names = Set(FileName.all).union(manifest.files.keys).sorted()
        let total = manifest.files.values.reduce(0) { $0 &+ $1.bytes }
        var done = 0
        for name in names {
            defer { done &+= manifest.files[name]?.bytes ?? 0 }
            attempt { () throws(DataError) in
                guard let expected = manifest.files[name], !name.contains("/") else {
                    throw DataError(path + "/" + DatasetManifest.fileName, "does not list \(name)")
                }
                let file = try MappedFile(path + "/" + name, expectedBytes: expected.bytes)
                let digest = file.digest { progress("reading MiB", (done &+ $0) >> 20, total >> 20) }
                guard digest == expected.sha256 else {
                    throw DataError(file.path, "does not match its SHA-256; the data set is damaged, build it again")
                }
            }
        }
        // The digests say that the files are as they were written; this says that they were written well.
        if problems.isEmpty {
            attempt { () throws(DataError) in
                let dataset = try PackedDataset(path)
                for index in 0..<manifest.pairs {
                    _ = try dataset.caption(try dataset.pair(index))
                    progress("checking pairs", index + 1, manifest.pairs)
                }
                for index in 0..<manifest.documents {
                    _ = try dataset.document(index)
                    progress("checking documents", index + 1, manifest.documents)
                }
                if manifest.image.element == .u16 {
                    for index in 0..<manifest.images { _ = try dataset.image(index) }
                }
                _ = try dataset.keys()
            }
        }
        return problems
    }
}
