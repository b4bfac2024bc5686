import Foundation
import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionModels

/// Chameleon's blocks and loss against transformers': LayerNorm on the heads of queries and keys, norms before or after the
/// layers, and the z-loss.
@Suite struct ChameleonTests {
    private func configuration(_ fixture: Fixture) -> ModelConfiguration {
        var configuration = ModelConfiguration(
            layers: 2, width: 32, heads: 4, feedForward: 48, vocabulary: 37, patchSize: 1, imageChannels: 1,
            imageHeight: 1, imageWidth: 1, beginOfText: 1, endOfText: 2, beginOfImage: 35, endOfImage: 36)
        configuration.keyValueHeads = Int(fixture.scalar("key_heads"))
        configuration.queryKeyNorm = .layer
        configuration.norm = fixture.scalar("swin") == 1 ? .post : .pre
        return configuration.withoutImages
    }

    @Test(arguments: Fixture.all("chameleon"), computingTypes)
    func logitsLossesAndGradientsAgreeWithTransformers(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let model = TransfusionModel(configuration(fixture), context) {
            Tensor([$0], .f32, allocator: context.allocator)
        }
        for parameter in model.parameters.parameters {
            fixture["weight.\(parameter.name)"].floats.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
        model.parameters.gradients?.fill(0)
        let tokens = fixture["tokens"].integers
        let layout = try RowLayout(
            tokens: tokens, documentStarts: [0], imageStarts: [], patchesPerImage: 1, beginOfImage: 35, endOfImage: 36)
        let hidden = try model.hiddenStates(layout, images: nil, context)
        let logits = try model.logits(hidden, rows: tokens.indices.map { Int32($0) }, context).floats()
        let isExact = type == .f32
        #expect(relativeError(logits, fixture["logits"].floats) < (isExact ? 1e-5 : 3e-2))

        let weights = TransfusionModel.LossWeights(
            targets: tokens.count - 1, images: 0, imageLossWeight: 0, zLossWeight: Double(fixture.scalar("z_weight")))
        let losses = try context.record { try model.losses(layout, images: nil, weights: weights, context) }
        try context.backward()
        let expected = (text: Double(fixture.scalar("text")), squares: Double(fixture.scalar("squared_log_z")))
        #expect(abs(losses.text / expected.text - 1) < (isExact ? 1e-5 : 2e-2))
        #expect(abs(losses.squaredLogZ / expected.squares - 1) < (isExact ? 1e-5 : 2e-2))
        for parameter in model.parameters.parameters {
            let error = relativeError(parameter.gradientFloats, fixture["gradient.\(parameter.name)"].floats)
            #expect(error < (isExact ? 1e-4 : 0.1), "\(parameter.name): \(error)")
        }
        let names = Set(model.parameters.parameters.map { "weight." + $0.name })
        #expect(names == Set(fixture.values.keys.filter { $0.hasPrefix("weight.") }))
    }
}
