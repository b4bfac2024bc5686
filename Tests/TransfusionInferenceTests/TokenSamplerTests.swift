import Foundation
import Testing
import TransfusionCore
import TransfusionModels

@testable import TransfusionInference

struct TokenSamplerTests {
    private let logits: [Float] = [0, 2, 1, 3, -1]

    private func sampler(temperature: Double = 1, topP: Double = 1, topK: Int = 0, seed: UInt64 = 1) -> TokenSampler {
        var settings = TextSettings()
        settings.temperature = temperature
        settings.topP = topP
        settings.topK = topK
        return TokenSampler(settings, seed: seed)
    }

    @Test func greedyTakesTheFirstOfTheLikeliest() {
        let greedy = sampler(temperature: 0)
        #expect(greedy.choose(from: logits, at: 0) { _ in true } == 3)
        #expect(greedy.choose(from: logits, at: 0) { $0 != 3 } == 1)
        #expect(greedy.choose(from: [1, 1, 1], at: 0) { _ in true } == 0)
    }

    /// The shares of many draws are the softmax of the logits.
    @Test(arguments: [0.5, 1, 2]) func drawsByProbability(temperature: Double) {
        let sampler = sampler(temperature: temperature)
        let draws = 20_000
        var counts = [Int](repeating: 0, count: logits.count)
        for position in 0..<draws { counts[Int(sampler.choose(from: logits, at: position) { _ in true })] += 1 }
        let weights = logits.map { exp(Double($0) / temperature) }
        for (count, weight) in zip(counts, weights) {
            let probability = weight / weights.reduce(0, +)
            let deviation = (probability * (1 - probability) / Double(draws)).squareRoot()
            #expect(abs(Double(count) / Double(draws) - probability) < 5 * deviation)
        }
    }

    @Test func considersTheLikeliestOnly() {
        func seen(_ sampler: TokenSampler) -> Set<Int32> {
            Set((0..<2000).map { sampler.choose(from: logits, at: $0) { _ in true } })
        }
        #expect(seen(sampler(topK: 2)) == [3, 1])
        // Softmax of the logits: 0.63, 0.23, 0.09, 0.03, 0.01.
        #expect(seen(sampler(topP: 0.6)) == [3])
        #expect(seen(sampler(topP: 0.7)) == [3, 1])
        #expect(seen(sampler(topP: 0.9)) == [3, 1, 2])
        #expect(seen(sampler(topP: 0.9, topK: 1)) == [3])
        #expect(seen(sampler()) == [0, 1, 2, 3, 4])
    }

    @Test func tokensFarBelowTheLikeliestAreLeftOut() {
        func seen(_ minP: Double, topP: Double = 1, temperature: Double = 1) -> Set<Int32> {
            var settings = TextSettings()
            (settings.minP, settings.topP, settings.temperature) = (minP, topP, temperature)
            let sampler = TokenSampler(settings, seed: 1)
            return Set((0..<4000).map { sampler.choose(from: logits, at: $0) { _ in true } })
        }
        // Shares of the likeliest one's probability: 1, 0.37, 0.14, 0.05, 0.02.
        #expect(seen(0) == [0, 1, 2, 3, 4] && seen(0.04) == [0, 1, 2, 3])
        #expect(seen(0.1) == [1, 2, 3] && seen(0.3) == [1, 3] && seen(1) == [3])
        #expect(seen(0.1, topP: 0.7) == [1, 3])
        // With a higher temperature the shares lie closer together.
        #expect(seen(0.3, temperature: 2) == [1, 2, 3])
    }

    @Test func tokensThatOccurAlreadyAreLessLikely() {
        func choose(_ penalty: Double, _ logits: [Float], after earlier: Set<Int32>) -> Int32 {
            var settings = TextSettings()
            settings.repetitionPenalty = penalty
            return TokenSampler(settings, seed: 1).choose(from: logits, at: 0, after: earlier) { _ in true }
        }
        #expect(choose(1, logits, after: [3]) == 3 && choose(1.4, logits, after: [3]) == 3)
        #expect(choose(1.6, logits, after: [3]) == 1)
        #expect(choose(1.6, logits, after: [0, 2, 4]) == 3)
        // What is negative is multiplied: it must not become likelier.
        #expect(choose(2, [-1, -1.5], after: [0]) == 1 && choose(1.4, [-1, -1.5], after: [0]) == 0)
    }

    @Test func dependsOnSeedAndPositionOnly() {
        let drawn = (0..<50).map { sampler(seed: 4).choose(from: logits, at: $0) { _ in true } }
        #expect(drawn == (0..<50).map { sampler(seed: 4).choose(from: logits, at: $0) { _ in true } })
        #expect(drawn != (0..<50).map { sampler(seed: 5).choose(from: logits, at: $0) { _ in true } })
    }

    @Test func namesImpossibleSettings() {
        func problem(_ change: (inout TextSettings) -> Void) -> String {
            var settings = TextSettings()
            change(&settings)
            return settings.problem?.description ?? ""
        }
        #expect(TextSettings().problem == nil)
        #expect(problem { $0.maximumTokens = 0 }.contains("max-tokens: "))
        #expect(problem { $0.temperature = -1 }.contains("temperature: "))
        #expect(problem { $0.temperature = .nan }.contains("temperature: "))
        #expect(problem { $0.topP = 0 }.contains("top-p: "))
        #expect(problem { $0.topP = 1.5 }.contains("top-p: "))
        #expect(problem { $0.topK = -1 }.contains("top-k: "))

        func imageProblem(_ change: (inout ImageSettings) -> Void) -> String {
            var settings = ImageSettings()
            change(&settings)
            return settings.problem?.description ?? ""
        }
        #expect(ImageSettings().problem == nil)
        #expect(imageProblem { $0.steps = 0 }.contains("steps: "))
        #expect(imageProblem { $0.steps = 1001 }.contains("steps: "))
        #expect(imageProblem { $0.guidanceScale = .infinity }.contains("cfg-scale: "))
        #expect(imageProblem { $0.method = .ddim(eta: 2) }.contains("eta: "))
    }
}
