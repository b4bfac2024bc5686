internal import TransfusionCore

/// One file of weights: safetensors, or what `torch.save` wrote.
struct WeightFile {
    let path: String
    let tensors: [String: SourceTensor]
    /// Names and types of tensors with elements that are not read here: no matter unless one is needed.
    let unreadable: [String: String]

    /// Whether a path with this name is taken for one file, and not for a directory.
    static func isNamed(_ path: String) -> Bool { path.hasSuffix(".safetensors") || PyTorchArchive.isNamed(path) }

    init(_ path: String) throws {
        self.path = path
        if PyTorchArchive.isNamed(path) {
            let archive = try PyTorchArchive(path)
            (tensors, unreadable) = (archive.tensors, archive.unreadable)
        } else {
            let file = try SafetensorsFile(path)
            (tensors, unreadable) = (SafetensorsDirectory.tensors(of: file), file.unreadable)
        }
    }

    /// - Throws: `CheckpointError` when there is such a tensor, but of a type that is not read here.
    func requireReadable(_ name: String) throws {
        guard let type = unreadable[name] else { return }
        throw CheckpointError(
            path, "tensor \(name) has elements of \(type), which are not read; store it as F32, BF16 or F16"
        )
    }
}
