import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import TransfusionParallel
import _TestUtilities

@testable import TransfusionTraining

/// One step of an autoencoder and a discriminator against each other, as PyTorch computes it.
@Suite struct AdversaryTests {
    private static let fixture = Fixture.one("adversarial", "step")

    private struct Found: Sendable {
        var adaptiveWeight = 0.0
        var verdict = 0.0
        var loss = 0.0
        var gradients: [String: [Float]] = [:]
        var discriminatorGradients: [String: [Float]] = [:]
    }

    /// The step on so many ranks, each of which has one picture or both; the gradients are those of this rank's pictures.
    private static func step(_ group: any Communicator) throws -> Found {
        let configuration = try RunConfiguration(
            yaml: """
                task: autoencoder
                data: {path: x}
                schedule: {steps: 10, warmup_steps: 0}
                batch: {global_sequences: 2}
                parallel: {threads: 1}
                precision: f32
                discriminator: {start: 0, layers: 1, width: 8}
                """)
        let resources = try TrainingResources(configuration, group: group, ranksOnHost: 1)
        let context = resources.context, images = fixture["images"], noise = fixture["noise"]
        let image = DatasetManifest.ImageShape(
            channels: 3, height: images.shape[2], width: images.shape[3], element: .f32)
        guard let adversary = try Adversary(configuration, image, resources) else { return Found() }
        for parameter in adversary.discriminator.parameters.parameters {
            let name = "weight." + parameter.name.dropFirst(PatchDiscriminator.prefix.count)
            fixture[name].floats.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
        let weights = try AutoencoderWeights(Fixtures.path("autoencoder/kl"))
        let model = Autoencoder(weights.configuration, context) { Tensor([$0], .f32, allocator: context.allocator) }
        try weights.load(into: model.parameters)
        var counts = BatchCounts(images: 2)
        counts.denominators = Dictionary(uniqueKeysWithValues: Adversary.Part.allCases.map { ($0.rawValue, 2) })

        func part(_ values: Fixture.Values, _ index: Int) -> Tensor {
            let count = values.floats.count / 2
            return context.pictures(
                Array(values.floats[index * count..<(index + 1) * count]), [1] + values.shape.dropFirst(), .f32)
        }
        let own = Array(group.rank * 2 / group.size..<(group.rank + 1) * 2 / group.size)
        func address(_ index: Int) -> BatchAddress { BatchAddress(step: 3, sequences: index..<index + 1) }
        func pass(_ index: Int) -> Autoencoder.Pass {
            model.reconstruct(
                part(images, index), target: nil, noise: part(noise, index),
                scales: Autoencoder.LossScales(absoluteError: 0, latentError: 0.5e-6), context)
        }
        try adversary.surveyReconstructions(
            own.map { index in
                let pass = pass(index)
                context.record {
                    _ = context.absoluteError(
                        pass.reconstruction, target: part(images, index), scale: 1 / Float(images.floats.count))
                }
                let gradient = try #require(try context.backward()[pass.reconstruction])
                return Adversary.Reconstruction(address: address(index), pass: pass, gradient: gradient, parts: [])
            }, of: model, counts, group: group, context)
        var found = Found()
        for index in own {
            let known = try #require(adversary.surveyed(address(index)))
            context.record { context.recordLoss(gradient: known.gradient, of: pass(index).reconstruction) }
            try context.backward()
            for part in known.parts where part.name == "adaptive_weight" { found.adaptiveWeight = part.sum }
            for part in known.parts where part.name == "adversarial" { found.verdict += part.mean }
        }
        try adversary.survey(own.map { (part(images, $0), address($0)) }, counts, group: group, context)
        adversary.discriminator.parameters.gradients?.fill(0)
        for index in own {
            let parts = context.record { adversary.losses(part(images, index), address(index), counts, context) }
            try context.backward()
            found.loss += parts[0].mean
        }
        found.gradients = model.parameters.gradientsByName
        found.discriminatorGradients = adversary.discriminator.parameters.gradientsByName
        return found
    }

    @Test(.timeLimit(.minutes(2)), arguments: [1, 2]) func agreesWithTamingTransformers(_ ranks: Int) throws {
        let fixture = Self.fixture
        let found = try ThreadGroup.run(ranks: ranks) { try Self.step($0) }
        let weight = Double(fixture.scalar("adaptive_weight"))
        for one in found { #expect(abs(one.adaptiveWeight / weight - 1) < 1e-4) }
        let verdict = found.reduce(0) { $0 + $1.verdict }, loss = found.reduce(0) { $0 + $1.loss }
        #expect(abs(verdict / (0.5 * weight * Double(fixture.scalar("verdict"))) - 1) < 1e-4)
        #expect(abs(loss / Double(fixture.scalar("loss")) - 1) < 1e-5)
        func sum(_ name: String, _ gradients: KeyPath<Found, [String: [Float]]>) -> [Float] {
            found.reduce(into: [Float](repeating: 0, count: found[0][keyPath: gradients][name]?.count ?? 0)) {
                sum, one in
                for (index, value) in (one[keyPath: gradients][name] ?? []).enumerated() { sum[index] += value }
            }
        }
        var compared = 0
        for (key, expected) in fixture.values {
            let name = key.split(separator: ".", maxSplits: 1).last.map(String.init) ?? ""
            let values: [Float]
            if key.hasPrefix("autoencoder.") {
                values = sum(name, \.gradients)
            } else if key.hasPrefix("grad.") {
                values = sum(PatchDiscriminator.prefix + name, \.discriminatorGradients)
            } else {
                continue
            }
            compared += 1
            #expect(relativeError(values, expected.floats) < 1e-3, "\(key)")
        }
        #expect(compared == 5 + 7)
    }

    @Test func theWeightIsBounded() {
        #expect(Adversary.adaptiveWeight(others: 2, verdict: 0.4999) == 4)
        #expect(Adversary.adaptiveWeight(others: 2, verdict: 0) == 1e4)
        #expect(Adversary.adaptiveWeight(others: .nan, verdict: 1).isNaN)
    }

    @Test func collapseIsSeen() {
        func warnings(_ losses: (Int) -> [String: Double]) -> [String] {
            let watch = CollapseWatch()
            return (0..<400).compactMap { watch.observe(losses($0), step: $0) }
        }
        let good = ["discriminator": 0.9, "adversarial": 0.1, "adaptive_weight": 3, "reconstruction": 0.1]
        func losses(_ step: Int, _ name: String, _ value: Double) -> [String: Double] {
            guard step >= 100 else { return ["reconstruction": 0.1] }
            return good.merging(step >= 200 ? [name: value] : [:]) { $1 }
        }
        #expect(warnings { losses($0, "reconstruction", 0.1) }.isEmpty)
        #expect(
            warnings { losses($0, "adaptive_weight", 1e4) }.first?.hasPrefix("step 201: the adaptive weight") == true)
        let worse = warnings { losses($0, "reconstruction", 0.3) }
        #expect(worse.count == 1 && worse[0].contains("reconstructions have become worse"))
        #expect(warnings { losses($0, "discriminator", 0) }.first?.contains("teaches nothing") == true)
    }
}

extension ParameterStore {
    fileprivate var gradientsByName: [String: [Float]] {
        Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.gradientFloats) })
    }
}
