import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionModels

@Suite struct PatchDiscriminatorTests {
    private let fixture = Fixture.one("adversarial", "patches")

    private func discriminator(_ context: Context) -> PatchDiscriminator {
        let result = PatchDiscriminator(
            PatchDiscriminator.Configuration(
                channels: 3, width: Int(fixture.scalar("width")), layers: Int(fixture.scalar("layers"))), context
        ) { Tensor([$0], .f32, allocator: context.allocator) }
        for parameter in result.parameters.parameters {
            let name = String(parameter.name.dropFirst(PatchDiscriminator.prefix.count))
            fixture["weight." + name].floats.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
        return result
    }

    private func pictures(_ name: String, parts: Int, _ context: Context) -> [Tensor] {
        let values = fixture[name], shape = [values.shape[0] / parts] + values.shape.dropFirst()
        let count = shape.reduce(1, *)
        return (0..<parts).map { part in
            context.pictures(Array(values.floats[part * count..<(part + 1) * count]), shape)
        }
    }

    @Test(arguments: [1, 2, 4]) func agreesWithTamingTransformersHoweverTheBatchIsCut(_ parts: Int) throws {
        let context = Context.forTests(), group = SingleRank()
        let model = discriminator(context)
        let logitCount = Float(fixture["real"].floats.count)
        let sets = [("pictures", "real", true), ("reconstructions", "reconstructed", false)].map {
            (pictures: pictures($0.0, parts: parts, context), logits: fixture[$0.1], isReal: $0.2)
        }
        func gradient(_ logits: Tensor, _ isReal: Bool) -> (loss: Double, gradient: Tensor) {
            let hinge = context.hingeLoss(logits, isReal: isReal, scale: 0.5 / logitCount)
            return (hinge.loss, hinge.gradient)
        }
        let surveys = try sets.map { set in
            try model.survey(set.pictures, group: group, reachesPictures: false, context) {
                gradient($0, set.isReal).gradient
            }
        }
        let verdict = try model.survey(sets[1].pictures, group: group, reachesPictures: true, context) {
            context.constantGradient(-1 / logitCount, of: $0)
        }
        let found = verdict.pictureGradients.flatMap { context.channelsFirst($0) }
        #expect(relativeError(found, fixture["gradient"].floats) < 1e-5)
        model.parameters.gradients?.fill(0)
        var loss = 0.0
        for (set, survey) in zip(sets, surveys) {
            var logits: [Float] = []
            for part in set.pictures {
                let made = context.record { model(part, survey, context) }
                logits += made.floats()
                let hinge = gradient(made, set.isReal)
                loss += 0.5 * hinge.loss / Double(logitCount)
                try context.backward(seeds: [(made, hinge.gradient)])
            }
            #expect(relativeError(logits, set.logits.floats) < 1e-5)
        }
        #expect(abs(loss / Double(fixture.scalar("loss")) - 1) < 1e-5)
        for parameter in model.parameters.parameters {
            let name = String(parameter.name.dropFirst(PatchDiscriminator.prefix.count))
            #expect(relativeError(parameter.gradientFloats, fixture["grad." + name].floats) < 2e-5, "\(name)")
        }
    }

    /// That of taming-transformers with 64 channels and three layers.
    @Test func hasAsManyParameters() {
        let sizes = PatchDiscriminator.Configuration()
        let shapes = PatchDiscriminator.parameterShapes(sizes)
        let counts = shapes.values.map { $0.reduce(1, *) }
        #expect(counts.reduce(0, +) == 2_765_633)
        #expect(shapes["discriminator.main.11.weight"] == [1, 512, 4, 4])
        #expect(sizes.logits(256) == 30 && sizes.logits(sizes.smallestSide) == 1)
    }

    @Test func aLogitBeyondItsMarginHasNoGradient() {
        let context = Context.forTests()
        let logits = context.tensor([2, 0.5, -3, .nan], [4])
        let real = context.hingeLoss(context.tensor([2, 0.5, -3], [3]), isReal: true, scale: 2)
        #expect(real.loss == 4.5 && real.logits == -0.5 && real.gradient.floats() == [0, -2, -2])
        #expect(context.hingeLoss(logits, isReal: false, scale: 1).loss.isNaN)
    }
}
