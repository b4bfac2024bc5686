import Foundation
import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

@Suite struct NoiseScheduleTests {
    private let schedule = NoiseSchedule()

    /// The golden values of docs/method.md.
    @Test(arguments: [
        (0, 0.9999587158), (249, 0.8470121613), (499, 0.4938435904), (500, 0.4922851724), (749, 0.1442721024),
        (998, 2.428766907e-06), (999, 2.428766907e-09),
    ])
    func signalVariance(timestep: Int, expected: Double) {
        #expect(abs(schedule.signalVariance[timestep] / expected - 1) < 1e-9)
    }

    @Test(arguments: [(0, 4.12842248e-05), (499, 0.00314588623), (998, 0.749999393), (999, 0.999)])
    func beta(timestep: Int, expected: Double) {
        #expect(abs(schedule.beta[timestep] / expected - 1) < 1e-8)
    }

    @Test func agreesWithDiffusers() {
        let table = Fixture.one("schedule", "table")
        #expect(schedule.timesteps == 1000)
        for timestep in 0..<1000 {
            #expect(abs(schedule.beta[timestep] / Double(table["betas"].floats[timestep]) - 1) < 1e-6)
            #expect(abs(schedule.signalVariance[timestep] / Double(table["alpha_bars"].floats[timestep]) - 1) < 1e-6)
        }
    }

    @Test func imagesAreNoisedAsInDiffusers() {
        let fixture = Fixture.one("schedule", "add_noise"), context = Context.forTests()
        let configuration = ModelConfiguration(
            layers: 1, width: 8, heads: 1, feedForward: 8, vocabulary: 8, patchSize: 2, imageChannels: 2,
            imageHeight: 4, imageWidth: 4, beginOfText: 1, endOfText: 2, beginOfImage: 6, endOfImage: 7)
        let images = NoisedImages(
            latents: fixture["clean"].floats, noise: fixture["noise"].floats,
            timesteps: fixture["timesteps"].integers, schedule: schedule, configuration: configuration, context)
        var noised = [Float](repeating: 0, count: fixture["noisy"].floats.count)
        Patches(configuration).join(images.patches.floatPointer, into: &noised, count: 6)
        #expect(relativeError(noised, fixture["noisy"].floats) < 1e-6)
    }

    @Test(arguments: Fixture.all("patchify")) func patchesRunOverRowsColumnsAndChannels(_ fixture: Fixture) {
        let shape = fixture["x"].shape, patch = Int(fixture["patch"].integers[0])
        let configuration = ModelConfiguration(
            layers: 1, width: 8, heads: 1, feedForward: 8, vocabulary: 8, patchSize: patch, imageChannels: shape[1],
            imageHeight: shape[2], imageWidth: shape[3], beginOfText: 1, endOfText: 2, beginOfImage: 6, endOfImage: 7)
        let patches = Patches(configuration), images = fixture["x"].floats
        #expect(patches.imageCount * shape[0] == images.count)
        #expect([configuration.patchesPerImage * shape[0], configuration.patchWidth] == fixture["y"].shape)
        var split = [Float](repeating: -1, count: images.count)
        patches.split(images, into: &split, count: shape[0])
        #expect(split == fixture["y"].floats)
        var joined = [Float](repeating: -1, count: images.count)
        patches.join(split, into: &joined, count: shape[0])
        #expect(joined == images)
    }

    @Test func timestepsAreEmbeddedAsInDiffusers() {
        let fixture = Fixture.one("timestep_embedding", "plain")
        let rows = fixture["timesteps"].integers.flatMap { PatchEncoder.sinusoid($0) }
        #expect(relativeError(rows, fixture["y"].floats) < 1e-6)
    }
}
