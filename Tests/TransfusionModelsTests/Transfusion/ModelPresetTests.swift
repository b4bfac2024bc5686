import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

@Suite struct ModelPresetTests {
    private func configuration(_ preset: ModelPreset, vocabulary: Int = 32000) -> ModelConfiguration {
        let sizes = preset.sizes
        return ModelConfiguration(
            layers: sizes.layers, width: sizes.width, heads: sizes.heads, feedForward: sizes.feedForward,
            vocabulary: vocabulary, patchSize: 2, imageChannels: 8, imageHeight: 32, imageWidth: 32, beginOfText: 1,
            endOfText: 2, beginOfImage: Int32(vocabulary - 2), endOfImage: Int32(vocabulary - 1))
    }

    /// The transformers of the paper's Table 2 with 32,000 tokens (162.4M, 373.9M, 777.9M, 1364.3M, 6738.4M), and the
    /// linear patch encoder and decoder beside each (0.531, 0.378, 0.373, 0.361, 0.271 % of it).
    @Test(arguments: [
        (ModelPreset.size0_16B, 162_423_552, 862_528), (.size0_37B, 373_867_520, 1_412_160),
        (.size0_76B, 777_856_512, 2_904_640), (.size1_4B, 1_364_297_728, 4_921_408),
        (.size7B, 6_738_415_616, 18_231_360),
    ])
    func parameterCounts(preset: ModelPreset, transformer: Int, patches: Int) {
        #expect(configuration(preset).problems().isEmpty)
        #expect(TransfusionModel.parameterCount(configuration(preset)) == transformer + patches)
    }

    @Test func theSmallestPresetIsAModelOfItsCount() {
        let context = Context.forTests()
        let model = TransfusionModel(configuration(.tiny, vocabulary: 512), context)
        #expect(model.parameters.globalCount == TransfusionModel.parameterCount(model.configuration))
        #expect(configuration(.tiny).problems().isEmpty)
    }

    @Test func feedForwardWidthsAreLlamas() {
        for preset in ModelPreset.allCases where preset != .tiny {
            #expect(preset.sizes.feedForward == ModelConfiguration.llamaFeedForward(width: preset.sizes.width))
        }
    }

    @Test func presetsAreFoundByTheirNames() {
        #expect(
            ["tiny", "0.16b", "0.37b", "0.76b", "1.4b", "7b"].map(ModelPreset.init(rawValue:)) == ModelPreset.allCases)
    }
}
