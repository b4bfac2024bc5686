internal import Foundation
internal import TransfusionCore
public import TransfusionModels

/// The weights of a network that looks at pictures for a loss, in a file that a user brings: safetensors, or of PyTorch.
///
/// Tensors are found by their names in the files that are in use, checked by their shapes, and read when they are loaded.
public struct FeatureWeights: Sendable {
    public let path: String
    /// SHA-256 of the file.
    public let digest: String
    private let tensors: [String: SourceTensor]
    private let unreadable: [String: String]

    /// - Throws: `CheckpointError` or `FileSystemError`, which name the file and what is wrong with it.
    public init(_ path: String) throws {
        self.path = path
        let file = try WeightFile(path)
        (tensors, unreadable) = (file.tensors, file.unreadable)
        guard let contents = try? Data(contentsOf: URL(filePath: path), options: .mappedIfSafe) else {
            throw CheckpointError(path, "cannot be read")
        }
        digest = contents.withUnsafeBytes { SHA256.hexDigest($0) }
    }

    /// Loads LPIPS.
    ///
    /// - Parameters:
    ///   - heads: The file with the weights of the five depths; nil takes them from this file.
    public func load(into network: PerceptualNetwork, heads: FeatureWeights?) throws {
        let features = renamed(Self.perceptualName), headsFile = heads ?? self
        let weights = headsFile.renamed(Self.perceptualName)
        for parameter in network.parameters.parameters {
            let isHead = parameter.name.hasPrefix("lin")
            let shape = isHead ? [1, parameter.count, 1, 1] : parameter.globalShape
            let values = try (isHead ? headsFile : self).values(
                parameter.name, shape, isHead ? weights : features,
                isHead ? "LPIPS (lin0 to lin4)" : "VGG-16 of torchvision")
            values.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
    }

    /// Loads a ResNet, whose batch normalisations become part of its convolutions.
    public func load(into network: IdentityNetwork) throws {
        // MoCo has two of them: the second follows the first slowly.
        let prefixes = ["", "module.encoder_q.", "encoder_q.", "module.", "backbone."]
        let prefix = prefixes.first { tensors[$0 + "conv1.weight"] != nil } ?? ""
        let own = renamed { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : nil }
        for weight in network.parameters.parameters where weight.name.hasSuffix(".weight") {
            let convolution = String(weight.name.dropLast(".weight".count))
            let norm = IdentityNetwork.normalization(of: convolution), outputs = weight.globalShape[0]
            func vector(_ name: String) throws -> [Float] {
                try self.values("\(norm).\(name)", [outputs], own, "ResNet-50 of MoCo v2")
            }
            let (scale, shift) = (try vector("weight"), try vector("bias"))
            let (mean, variance) = (try vector("running_mean"), try vector("running_var"))
            // PyTorch's epsilon.
            let factors = zip(scale, variance).map { $0 / ($1 + 1e-5).squareRoot() }
            var weights = try values(weight.name, weight.globalShape, own, "ResNet-50 of MoCo v2")
            let taps = weights.count / outputs
            for index in weights.indices { weights[index] *= factors[index / taps] }
            weights.withUnsafeBufferPointer { weight.writeMaster($0, at: 0) }
            let biases = (0..<outputs).map { shift[$0] - mean[$0] * factors[$0] }
            let bias = network.parameters[convolution + ".bias"]
            biases.withUnsafeBufferPointer { values in bias?.writeMaster(values, at: 0) ?? () }
        }
    }

    private func renamed(_ name: (String) -> String?) -> [String: SourceTensor] {
        var result: [String: SourceTensor] = [:]
        for (theirs, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            if let ours = name(theirs), result[ours] == nil { result[ours] = tensor }
        }
        return result
    }

    /// torchvision's `features.N.weight`, LPIPS's `net.slice2.N.weight` and `lin0.model.1.weight`, and all of those behind a
    /// prefix, as Latent Diffusion's files have them.
    private static func perceptualName(_ name: String) -> String? {
        let parts = name.split(separator: ".").map(String.init)
        if parts.count >= 4, parts.suffix(3) == ["model", "1", "weight"], parts[parts.count - 4].hasPrefix("lin") {
            return parts.suffix(4).joined(separator: ".")
        }
        guard parts.count >= 3, Int(parts[parts.count - 2]) != nil else { return nil }
        let place = parts[parts.count - 3]
        guard place == "features" || place.hasPrefix("slice") else { return nil }
        return "features." + parts.suffix(2).joined(separator: ".")
    }

    /// The numbers of a tensor of a known shape.
    private func values(
        _ name: String, _ shape: [Int], _ tensors: [String: SourceTensor], _ expected: String
    ) throws -> [Float] {
        guard let tensor = tensors[name] else {
            if let type = unreadable[name] { throw CheckpointError(path, "tensor \(name) has elements of \(type)") }
            throw CheckpointError(path, "has no tensor \(name); give the weights of \(expected)")
        }
        guard tensor.shape == shape else {
            throw CheckpointError(
                path, "tensor \(name) has the shape \(tensor.shape), not \(shape); give the weights of \(expected)")
        }
        guard tensor.type.isFloat else {
            throw CheckpointError(path, "tensor \(name) has elements of \(tensor.type), not of a float")
        }
        let source = tensor.converted(to: .f32)
        var values = [Float](repeating: 0, count: shape.reduce(1, *))
        try values.withUnsafeMutableBytes { try source.read(0..<$0.count, $0) }
        guard values.allSatisfy(\.isFinite) else {
            throw CheckpointError(path, "tensor \(name) holds numbers that are none")
        }
        return values
    }
}
