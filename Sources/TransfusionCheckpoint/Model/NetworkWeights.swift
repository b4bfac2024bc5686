internal import TransfusionCore
internal import TransfusionSupport

/// Weights that others trained, of a network that is only used: one file (safetensors, or what `torch.save` wrote), or a
/// directory as Hugging Face's libraries write it.
public struct NetworkWeights: Sendable {
    public let path: String
    private let files: SafetensorsDirectory
    /// The names in the files, by those that are asked for; nil when they are the same.
    private var names: [String: String]?

    public init(_ path: String) throws {
        self.path = path
        if !WeightFile.isNamed(path), !Directories.exists(path) {
            throw CheckpointError(
                path, "is no file of weights: its name ends neither in .safetensors nor in .pth, .pt, .ckpt or .bin")
        }
        files = try SafetensorsDirectory(path)
    }

    /// Whether there is such a tensor.
    public func has(_ name: String) -> Bool { tensor(name) != nil }

    private func tensor(_ name: String) -> SourceTensor? { nameInFiles(name).flatMap { files.tensors[$0] } }

    private func nameInFiles(_ name: String) -> String? {
        guard let names else { return name }
        return names[name]
    }

    /// The same weights under other names; where two would have the same, the first one has it.
    /// - Parameter name: The new name; nil leaves a tensor out.
    public func renamed(_ name: (String) -> String?) -> NetworkWeights {
        var renamed = self
        renamed.names = [:]
        for theirs in names?.keys.sorted() ?? files.names {
            if let ours = name(theirs), renamed.names?[ours] == nil { renamed.names?[ours] = nameInFiles(theirs) }
        }
        return renamed
    }

    /// Refuses the weights of another network; tensors beyond those that are needed do not matter.
    /// - Parameter network: What it should be, as in `Inception v3 of pytorch-fid`.
    public func require(_ shapes: [(name: String, shape: [Int])], of network: String) throws {
        try files.requireReadable(shapes.compactMap { nameInFiles($0.name) })
        for (name, shape) in shapes {
            guard let tensor = tensor(name) else {
                throw CheckpointError(path, "is not \(network): it has no tensor \(name)")
            }
            guard tensor.shape == shape else {
                throw CheckpointError(
                    path, "is not \(network): tensor \(name) has the shape \(tensor.shape), not \(shape)")
            }
            guard tensor.type.isFloat else {
                throw CheckpointError(path, "tensor \(name) has elements of \(tensor.type), not of a float")
            }
        }
    }

    /// All numbers of a tensor that `require` has named.
    /// - Throws: Also when one of them is not finite.
    public func floats(_ name: String) throws -> [Float] {
        guard let tensor = tensor(name)?.converted(to: .f32) else {
            preconditionFailure("\(name) is read without having been asked for")
        }
        let count = tensor.byteCount / 4
        let values = try [Float](unsafeUninitializedCapacity: count) { buffer, filled in
            if count > 0 { try tensor.read(0..<tensor.byteCount, UnsafeMutableRawBufferPointer(buffer)) }
            filled = count
        }
        guard let largest = values.withUnsafeBufferPointer(Self.largestMagnitude), largest.isFinite else {
            throw CheckpointError(path, "tensor \(name) holds numbers that are not finite; the file is damaged")
        }
        return values
    }

    /// NaN if there is one.
    private static func largestMagnitude(_ values: UnsafeBufferPointer<Float>) -> Float? {
        var largest: Float = 0
        for value in values {
            let magnitude = value.magnitude
            if !(magnitude <= largest) { largest = magnitude }
            if largest.isNaN { return nil }
        }
        return largest
    }
}
