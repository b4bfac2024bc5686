internal import Foundation
internal import TransfusionCore
public import TransfusionModels

/// The weights of a network that looks at pictures for a loss, in a file that a user brings: safetensors, or of PyTorch.
///
/// Tensors are found by their names in the files that are in use, checked by their shapes, and read when they are loaded.
public struct FeatureWeights: Sendable {
    public var path: String { weights.path }
    /// SHA-256 of the file.
    public let digest: String
    private let weights: NetworkWeights

    /// - Throws: `CheckpointError` or `FileSystemError`, which name the file and what is wrong with it.
    public init(_ path: String) throws {
        weights = try NetworkWeights(path)
        guard let contents = try? Data(contentsOf: URL(filePath: path), options: .mappedIfSafe) else {
            throw CheckpointError(path, "cannot be read; give one file")
        }
        digest = contents.withUnsafeBytes { SHA256.hexDigest($0) }
    }

    /// Loads LPIPS.
    ///
    /// - Parameters:
    ///   - heads: The file with the weights of the five depths; nil takes them from this file.
    public func load(into network: PerceptualNetwork, heads: FeatureWeights?) throws {
        let parts = [
            (weights, "VGG-16 of torchvision", isHead: false),
            ((heads ?? self).weights, "LPIPS (lin0 to lin4)", isHead: true),
        ]
        for (source, title, isHead) in parts {
            let weights = source.renamed(Self.perceptualName)
            let parameters = network.parameters.parameters.filter { $0.name.hasPrefix("lin") == isHead }
            try weights.require(
                parameters.map { ($0.name, isHead ? [1, $0.count, 1, 1] : $0.globalShape) }, of: title)
            for parameter in parameters {
                try weights.floats(parameter.name).withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
            }
        }
    }

    /// Loads a ResNet, whose batch normalisations become part of its convolutions.
    public func load(into network: IdentityNetwork) throws {
        // MoCo has two of them: the second follows the first slowly.
        let prefixes = ["", "module.encoder_q.", "encoder_q.", "module.", "backbone."]
        let prefix = prefixes.first { self.weights.has($0 + "conv1.weight") } ?? ""
        let weights = self.weights.renamed { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : nil }
        let convolutions = network.parameters.parameters.filter { $0.name.hasSuffix(".weight") }
        func norm(of weight: Parameter) -> String {
            IdentityNetwork.normalization(of: String(weight.name.dropLast(".weight".count)))
        }
        let vectors = ["weight", "bias", "running_mean", "running_var"]
        try weights.require(
            convolutions.flatMap { weight in
                [(weight.name, weight.globalShape)]
                    + vectors.map { ("\(norm(of: weight)).\($0)", [weight.globalShape[0]]) }
            }, of: "ResNet-50 of MoCo v2")
        for weight in convolutions {
            let values = try vectors.map { try weights.floats("\(norm(of: weight)).\($0)") }
            let (scale, shift, mean, variance) = (values[0], values[1], values[2], values[3])
            // PyTorch's epsilon.
            let factors = zip(scale, variance).map { $0 / ($1 + 1e-5).squareRoot() }
            var scaled = try weights.floats(weight.name)
            let taps = scaled.count / factors.count
            for index in scaled.indices { scaled[index] *= factors[index / taps] }
            scaled.withUnsafeBufferPointer { weight.writeMaster($0, at: 0) }
            let biases = factors.indices.map { shift[$0] - mean[$0] * factors[$0] }
            let bias = network.parameters[String(weight.name.dropLast("weight".count)) + "bias"]
            biases.withUnsafeBufferPointer { values in bias?.writeMaster(values, at: 0) ?? () }
        }
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
}
