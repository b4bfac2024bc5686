import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

@Suite struct SamplerTests {
    @Test(arguments: Fixture.all("timestep_spacing")) func spacingAgreesWithDiffusers(_ fixture: Fixture) {
        let expected = fixture["timesteps"].integers.map { Int($0) }
        let sampler = Sampler(steps: expected.count, spacing: fixture.name.hasPrefix("leading") ? .leading : .trailing)
        #expect(sampler.timesteps == expected)
    }

    /// Follows a whole run whose predictions and fresh noise are given.
    private func follow(_ fixture: Fixture, _ sampler: Sampler) {
        #expect(sampler.timesteps == fixture["timesteps"].integers.map { Int($0) })
        let states = fixture["states"].floats, count = states.count / (sampler.timesteps.count + 1)
        var image = Array(states[..<count])
        for step in sampler.timesteps.indices {
            let here = step * count..<(step + 1) * count
            sampler.advance(&image, predictedNoise: Array(fixture["predictions"].floats[here]), step: step) { buffer in
                _ = buffer.update(from: fixture["noises"].floats[here])
            }
            let expected = Array(states[(step + 1) * count..<(step + 2) * count])
            #expect(relativeError(image, expected) < 2e-6, "step \(step)")
        }
    }

    @Test(arguments: Fixture.all("ddim")) func ddimAgreesWithDiffusers(_ fixture: Fixture) {
        follow(
            fixture,
            Sampler(
                method: .ddim(eta: Double(fixture.scalar("eta"))), steps: fixture["timesteps"].shape[0],
                spacing: fixture.scalar("trailing") > 0 ? .trailing : .leading, clipsImage: fixture.scalar("clip") > 0))
    }

    @Test(arguments: Fixture.all("ddpm")) func ancestralSamplingAgreesWithDiffusers(_ fixture: Fixture) {
        follow(
            fixture,
            Sampler(
                method: .ddpm, steps: fixture["timesteps"].shape[0],
                spacing: fixture.scalar("trailing") > 0 ? .trailing : .leading, clipsImage: fixture.scalar("clip") > 0))
    }

    @Test func deterministicSamplingAsksForNoNoise() {
        let sampler = Sampler(steps: 4)
        var image: [Float] = [0.5, -0.5]
        for step in 0..<4 {
            sampler.advance(&image, predictedNoise: [0.1, 0.2], step: step) { _ in Issue.record("noise was drawn") }
        }
        #expect(image.allSatisfy { $0.isFinite })
    }

    /// With the true noise as the prediction every step lies on the way, and the end is the clean image.
    @Test(arguments: Sampler.Spacing.allCases) func aPerfectModelGivesTheCleanImage(spacing: Sampler.Spacing) {
        let clean: [Float] = [0.3, -0.9, 0.7], noise: [Float] = [1.2, -0.4, 0.1]
        let sampler = Sampler(steps: 25, spacing: spacing)
        let first = sampler.timesteps[0]
        let signal = Float(sampler.schedule.signal(first)), deviation = Float(sampler.schedule.deviation(first))
        var image = zip(clean, noise).map { signal * $0 + deviation * $1 }
        for step in 0..<25 {
            // What is left of the noise after rounding is what the model would see.
            let timestep = sampler.timesteps[step]
            let predicted = zip(image, clean).map {
                ($0 - Float(sampler.schedule.signal(timestep)) * $1) / Float(sampler.schedule.deviation(timestep))
            }
            sampler.advance(&image, predictedNoise: predicted, step: step) { _ in }
        }
        #expect(relativeError(image, clean) < 1e-3)
    }
}
