import Testing
import TransfusionCore

@testable import TransfusionModels

@Suite struct PlannedAutoencoderTests {
    private static func paper(_ change: (inout PlannedAutoencoder) -> Void = { _ in }) -> PlannedAutoencoder {
        var planned = PlannedAutoencoder(AutoencoderPreset.paper.configuration(.kl), height: 256, width: 256)
        change(&planned)
        return planned
    }

    private static func layout(_ microBatches: Int = 1) -> MemoryPlan.Layout {
        var layout = MemoryPlan.Layout()
        layout.recomputation = .full
        layout.microBatches = microBatches
        return layout
    }

    /// VGG-16 takes 40.1 GFLOP for a picture of 256 × 256: of the picture, of its reconstruction, and back to that.
    @Test func networksOfLossesCostTheirPasses() throws {
        let plain = try Self.paper().cost(Self.layout(), sequences: 1)
        #expect(abs(plain.work.operations / 2.70e12 - 1) < 0.02)
        let planned = Self.paper { $0.hasPerceptualNetwork = true }
        let perceptual = try planned.cost(Self.layout(), sequences: 1)
        #expect(abs((perceptual.work.operations - plain.work.operations) / (3 * 40.1e9) - 1) < 0.02)
        #expect(perceptual.residentBytes > plain.residentBytes)
        // 14.7M weights of its convolutions.
        let bytes = planned.sizes(Self.layout(), sequences: 1).otherBytes
        #expect(abs(Double(bytes) / (2 * 14.7e6) - 1) < 0.02)
    }

    /// Against a discriminator the autoencoder goes forward twice, and a rank keeps something of each micro-batch.
    @Test func aDiscriminatorCostsAnotherForwardPassAndMemory() throws {
        let plain = Self.paper(), against = Self.paper { $0.discriminator = PatchDiscriminator.Configuration() }
        let alone = try plain.cost(Self.layout(), sequences: 1), both = try against.cost(Self.layout(), sequences: 1)
        let forward = alone.work.operations / 3, others = both.work.operations - 4 * forward
        // A pass through the discriminator takes 6.3 GFLOP; more than three and less than forty.
        #expect(others > 3 * 6.3e9 && others < 40 * 6.3e9)
        #expect(against.parameterCount - plain.parameterCount == 2_765_633)
        func bytes(_ planned: PlannedAutoencoder, _ microBatches: Int) throws -> Int {
            try planned.cost(Self.layout(microBatches), sequences: 1).residentBytes
        }
        #expect(try bytes(plain, 1) == bytes(plain, 64))
        // Reconstruction and gradient in bf16, at the least.
        let few = try bytes(against, 2), kept = 2 * 2 * 3 * 256 * 256
        #expect(try bytes(against, 3) - few >= kept)
        #expect(try bytes(against, 64) - few >= 62 * kept)
    }

    @Test func averagesAndCodesTakeMemory() throws {
        let layout = Self.layout()
        func plan(_ planned: PlannedAutoencoder) throws -> MemoryPlan {
            MemoryPlan(
                planned.sizes(layout, sequences: 1), layout, try planned.cost(layout, sequences: 1), programBytes: 0)
        }
        let plain = try plan(Self.paper()), averaged = try plan(Self.paper { $0.averagesWeights = true })
        #expect(abs(Double(averaged.moments - plain.moments) / (4 * 85_964_435) - 1) < 1e-3)
        let codes = 16_384, model = AutoencoderPreset.paper.configuration(.vq)
        let trained = Self.paper { $0.model = model }
        let ema = Self.paper {
            $0.model = model
            $0.trainsCodebook = false
        }
        let sizes = [trained, ema].map { $0.sizes(layout, sequences: 1) }
        #expect(sizes[0].elements.trained - sizes[1].elements.trained == codes * 8)
        #expect(sizes[1].elements.frozen == codes * 8 && sizes[0].otherBytes == 4 * codes)
        #expect(sizes[1].otherBytes == 4 * codes * 17)
    }
}
