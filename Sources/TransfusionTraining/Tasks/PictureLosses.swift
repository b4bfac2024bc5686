internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// How far reconstructions are from their pictures: the mean absolute error of the pixels, and the distances that networks see
/// whose weights the user brings.
final class PictureLosses {
    /// A network with its part in the loss.
    private struct Term {
        let name: String
        let weight: Double
        let network: any FeatureNetwork
    }

    static let reconstruction = "reconstruction"
    private static let perceptual = "perceptual"
    private static let identity = "identity"
    private let terms: [Term]
    /// What a person should know of the terms, a line each.
    private(set) var description: [String] = []
    /// The digests of the networks' files, by the names of the terms.
    private(set) var digests: [String: String] = [:]

    /// - Throws: `CommandFailure` that names the key, the file and what is wrong with it.
    init(
        _ configuration: RunConfiguration, _ image: DatasetManifest.ImageShape, _ context: Context
    ) throws {
        let objective = configuration.objective
        var terms: [Term] = []
        if let path = objective.perceptualNetwork, objective.perceptualWeight > 0 {
            let network = PerceptualNetwork(context)
            terms.append(Term(name: Self.perceptual, weight: objective.perceptualWeight, network: network))
            let file = try Self.open(path, "objective.perceptual_network")
            let heads = try objective.perceptualHeads.map { try Self.open($0, "objective.perceptual_heads") }
            try Self.naming("objective.perceptual_network") { try file.load(into: network, heads: heads) }
            digests[Self.perceptual] = ([file.digest] + (heads.map { [$0.digest] } ?? [])).joined(separator: " ")
        }
        if let path = objective.identityNetwork, objective.identityWeight > 0 {
            let network = IdentityNetwork(context)
            terms.append(Term(name: Self.identity, weight: objective.identityWeight, network: network))
            let file = try Self.open(path, "objective.identity_network")
            try Self.naming("objective.identity_network") { try file.load(into: network) }
            digests[Self.identity] = file.digest
        }
        self.terms = terms
        let side = min(image.height, image.width)
        if let blind = terms.first(where: { $0.network.smallestSide > side || image.channels != 3 }) {
            throw CommandFailure(
                "objective.\(blind.name)_network: sees pictures of 3 channels and at least \(blind.network.smallestSide) pixels "
                    + "a side, and the data set's are \(image.height) × \(image.width) × \(image.channels); leave it away",
                .wrongUse)
        }
        description = [
            describe(Self.perceptual, "LPIPS", objective.perceptualNetwork, "objective.perceptual_network"),
            describe(Self.identity, "identity", objective.identityNetwork, "objective.identity_network"),
        ]
    }

    /// A network of the given terms; for tests.
    init(terms: [(name: String, weight: Double, network: any FeatureNetwork)]) {
        self.terms = terms.map { Term(name: $0.name, weight: $0.weight, network: $0.network) }
    }

    private static func open(_ path: String, _ key: String) throws -> FeatureWeights {
        try naming(key) { try FeatureWeights(path) }
    }

    private static func naming<Result>(_ key: String, _ body: () throws -> Result) throws -> Result {
        do { return try body() } catch { throw CommandFailure("\(key): \(error)", .wrongUse) }
    }

    private func describe(_ name: String, _ title: String, _ path: String?, _ key: String) -> String {
        guard let term = terms.first(where: { $0.name == name }) else {
            return "\(title) loss: off" + (path == nil ? ", as \(key) names no weights" : ", as its weight is 0")
        }
        return "\(title) loss: weight \(term.weight), \(path ?? ""), sha256 \(digests[name]?.prefix(12) ?? "")"
    }

    /// How the networks differ from those of a checkpoint, whose digests are given by name.
    func difference(from digest: (String) -> String?) -> String? {
        for name in [Self.perceptual, Self.identity] where digests[name] != digest(name) {
            func short(_ digest: String?) -> String {
                digest.map { "sha256 " + $0.split(separator: " ").map { $0.prefix(12) }.joined(separator: ", ") }
                    ?? "no file"
            }
            return
                "objective.\(name)_network: \(short(digests[name])) is not the \(short(digest(name))) that the run was trained with"
        }
        return nil
    }

    /// The names of all parts.
    var names: [String] { [Self.reconstruction] + terms.map(\.name) }
    /// The losses of reconstructions; while recording, the backward pass gives their gradient.
    ///
    /// - Parameters:
    ///   - reconstruction: `[images, height, width, channels]` in the context's type.
    ///   - target: The pictures, f32.
    func callAsFunction(
        _ reconstruction: Tensor, target: Tensor, _ counts: BatchCounts, _ context: Context
    ) -> [NamedSum] {
        let images = target.shape[0], pixels = Double(target.count / max(images, 1)), all = Double(counts.images)
        let errors = context.absoluteError(reconstruction, target: target, scale: Float(1 / (pixels * all)))
        // A picture's error is the mean of its pixels.
        let pictures = terms.isEmpty ? target : context.converted(target, to: context.type)
        return [counts.part(Self.reconstruction, errors.reduce(0, +) / pixels)]
            + terms.map { term in
                let distances = term.network.distances(
                    reconstruction, from: pictures, scale: Float(term.weight / all), context)
                return counts.part(term.name, distances.reduce(0, +), weight: term.weight)
            }
    }
}
