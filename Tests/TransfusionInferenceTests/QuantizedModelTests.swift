import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionInference

/// A model whose weights are rounded to signed bytes when it is loaded.
@Suite struct QuantizedModelTests {
    private static let items = [
        TextScorer.Item(tokens: [1, 17, 18, 19, 20, 21, 22, 23], scored: 7),
        TextScorer.Item(tokens: [1, 99], scored: 1),
    ]

    private func loaded(_ model: ModelOnDisk, _ rounding: WeightRounding?, _ type: RunConfiguration.Precision) throws
        -> LoadedModel
    {
        var request = LoadedModel.Request(checkpoint: model.path)
        request.precision = type
        request.threads = 2
        request.rounding = rounding
        return try LoadedModel(request)
    }

    @Test(arguments: [false, true], [RunConfiguration.Precision.f32, .bf16])
    func predictsNearlyTheSame(_ isTied: Bool, _ precision: RunConfiguration.Precision) throws {
        let model = try ModelOnDisk {
            $0.hasTiedEmbeddings = isTied
            $0.keyValueHeads = 1
        }
        let file = URL(filePath: model.file("model.safetensors"))
        let before = try Data(contentsOf: file)
        let exact = try TextScorer(loaded(model, nil, .f32)).logLikelihoods(Self.items)
        let rounded = try TextScorer(loaded(model, .int8, precision)).logLikelihoods(Self.items)
        #expect(zip(exact, rounded).allSatisfy { $0 != $1 && abs($0 - $1) < 0.01 * abs($0) }, "\(exact), \(rounded)")
        #expect(try Data(contentsOf: file) == before)
        // One row after the other, against the cache, as in decoding; with images too.
        let loaded = try loaded(model, .int8, precision)
        var settings = Generator.Continuation()
        settings.text.maximumTokens = 4
        settings.maximumImages = 1
        settings.beginsWithImage = true
        settings.image.steps = 2
        let parts = try loaded.generator.continuation(of: [.text([1, 17, 18])], settings, seed: 1)
        guard case .image(let image)? = parts.first else {
            Issue.record("no picture comes first")
            return
        }
        #expect(image.count == 3 * 8 * 8 && image.allSatisfy(\.isFinite))
    }
}
