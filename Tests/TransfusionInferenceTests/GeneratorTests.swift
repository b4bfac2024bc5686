import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionInference

struct GeneratorTests {
    private func settings(
        steps: Int = 8, scale: Double = 3, _ method: Sampler.Method = .ddim(eta: 0), clips: Bool = true
    ) -> ImageSettings {
        var settings = ImageSettings()
        settings.steps = steps
        settings.guidanceScale = scale
        settings.method = method
        settings.clipsImage = clips
        return settings
    }

    private func start(_ small: SmallModel, _ tokens: [Int32]) -> Recomputation {
        var sequence = Recomputation(small)
        sequence.append([1] + tokens + [38])
        return sequence
    }

    /// Prompts of different lengths in one batch give what each gives alone, without a cache and without a batch.
    @Test(arguments: [false, true], [Sampler.Method.ddim(eta: 0), .ddim(eta: 1), .ddpm])
    func imagesEqualRecomputation(sharedImagePosition: Bool, method: Sampler.Method) throws {
        let small = SmallModel(sharedImagePosition: sharedImagePosition)
        let prompts: [[Int32]] = [[5, 6, 7], [], [9, 10, 11, 12, 13, 14, 15]]
        let settings = settings(method)
        var progress: [Int] = []
        let images = try small.generator.images(
            for: prompts, seeds: (0..<3).map { Generator.ImageSeed(20 + $0) }, settings
        ) { progress.append($0) }
        #expect(progress == (1...8).map { 3 * $0 })
        for (index, prompt) in prompts.enumerated() {
            let expected = try start(small, prompt).draw(
                settings, without: start(small, []), seed: 20 + UInt64(index))
            #expect(relativeError(images[index], expected) < 1e-5, "prompt \(index)")
        }
        #expect(relativeError(images[0], images[2]) > 0.1)
    }

    @Test func causalImagesEqualRecomputation() throws {
        let small = SmallModel(causalImages: true)
        let images = try small.generator.images(for: [[5, 6]], seeds: [.init(20)], settings())
        let expected = try start(small, [5, 6]).draw(settings(), without: start(small, []), seed: 20)
        #expect(relativeError(images[0], expected) < 1e-5)
        let seen = try SmallModel().generator.images(for: [[5, 6]], seeds: [.init(20)], settings())
        #expect(relativeError(seen[0], expected) > 1e-3)
    }

    /// Both branches of guidance share what the U-Net makes of their images on the way down.
    @Test func imagesOfAUNetEqualRecomputation() throws {
        let small = SmallModel(patchCoder: .unet), settings = settings(steps: 4)
        let prompts: [[Int32]] = [[5, 6, 7], [9, 10, 11, 12, 13]]
        let images = try small.generator.images(
            for: prompts, seeds: (0..<2).map { Generator.ImageSeed(20 + $0) }, settings)
        for (index, prompt) in prompts.enumerated() {
            let expected = try start(small, prompt).draw(
                settings, without: start(small, []), seed: 20 + UInt64(index))
            #expect(relativeError(images[index], expected) < 1e-4, "prompt \(index)")
        }
        #expect(relativeError(images[0], images[1]) > 0.1)
    }

    /// Each branch of guidance, the original before the instruction, without a cache and without a batch.
    @Test(arguments: [(3.0, 1.5), (3, 1), (2, 2), (1, 1), (1, 1.5)]) func editsEqualRecomputation(
        text: Double, image: Double
    ) throws {
        let small = SmallModel()
        var settings = settings(scale: text)
        settings.originalGuidanceScale = image
        let prompts: [[Int32]] = [[5, 6, 7], [9, 10, 11, 12]]
        let conditions = prompts.enumerated().map {
            Generator.Condition(prompt: $1, original: small.image(UInt64($0)))
        }
        let images = try small.generator.images(
            for: conditions, seeds: (0..<2).map { Generator.ImageSeed(20 + $0) }, settings)
        for (index, prompt) in prompts.enumerated() {
            let branches = [prompt, []].map { instruction in
                var sequence = Recomputation(small)
                sequence.append([1, 38])
                sequence.append(image: small.image(UInt64(index)), timestep: 0)
                sequence.append([39] + instruction + [38])
                return sequence
            }
            // none + image · (original − none) + text · (all − original)
            let weighted = [(branches[0], text), (branches[1], image - text), (start(small, []), 1 - image)]
            let expected = try Recomputation.draw(weighted, settings, seed: 20 + UInt64(index))
            #expect(relativeError(images[index], expected) < 1e-5, "edit \(index)")
        }
        #expect(relativeError(images[0], images[1]) > 0.1)
    }

    @Test func anEditThatDoesNotFitIsRefused() throws {
        let small = SmallModel(contextLength: 16)
        let edit = Generator.Condition(prompt: [5], original: small.image(0))
        #expect {
            try small.generator.images(for: [edit], seeds: [.init(0)], ImageSettings())
        } throws: { "\($0)".contains("the prompt needs 17 rows") }
    }

    @Test func memoryLimitDoesNotChangeImages() throws {
        let small = SmallModel()
        let one = SmallModel(memoryLimit: 1)
        let prompts: [[Int32]] = [[5, 6], [7], [8, 9, 10]]
        let seeds = (0..<3).map { Generator.ImageSeed($0) }
        var progress: [Int] = []
        let together = try small.generator.images(for: prompts, seeds: seeds, settings(steps: 3))
        let apart = try one.generator.images(for: prompts, seeds: seeds, settings(steps: 3)) { progress.append($0) }
        #expect(progress == Array(1...9))
        for (a, b) in zip(together, apart) { #expect(relativeError(a, b) < 1e-5) }
    }

    @Test func withoutGuidanceThePredictionIsTheConditionalOne() throws {
        let small = SmallModel()
        let expected = try start(small, [5, 6]).draw(settings(scale: 1), without: start(small, []), seed: 3)
        let images = try small.generator.images(for: [[5, 6]], seeds: [.init(3)], settings(scale: 1))
        #expect(relativeError(images[0], expected) < 1e-5)
        let guided = try small.generator.images(for: [[5, 6]], seeds: [.init(3)], settings(scale: 4))
        #expect(relativeError(guided[0], expected) > 1e-3)
    }

    /// Text, an image that is drawn, text again, a second image: every choice is that of the whole sequence recomputed.
    @Test(arguments: [false, true]) func interleavedSequenceEqualsRecomputation(sharedImagePosition: Bool) throws {
        let small = SmallModel(sharedImagePosition: sharedImagePosition)
        var settings = Generator.Continuation()
        settings.text.maximumTokens = 12
        settings.image = self.settings(steps: 4)
        settings.maximumImages = 2
        settings.beginsWithImage = true
        // Makes the model want a second image.
        let head = try #require(small.model.parameters["lm_head.weight"])
        let prompt: [SequencePart] = [.text([4, 8]), .image(small.image(1)), .text([15, 16])]
        var sequence = Recomputation(small)
        sequence.append([1, 4, 8, 38])
        sequence.append(image: small.image(1), timestep: 0)
        sequence.append([39, 15, 16, 38])

        var unguided = Recomputation(small)
        unguided.append([1, 38])
        func addImage(_ index: Int) throws -> [Float] {
            let image = try sequence.draw(settings.image, without: unguided, seed: 5, index: index)
            sequence.append(image: image, timestep: 0)
            sequence.append([39])
            return image
        }
        var expected: [SequencePart] = [.image(try addImage(0))]
        // The row of BOI in the head becomes what the last norm gives now, so that BOI is the first choice.
        let width = small.configuration.width
        let hidden = try sequence.hidden().rows.floats().suffix(width)
        for (column, value) in hidden.enumerated() { head.value.f32[38 * width + column] = value }

        var text: [Int32] = []
        var images = 1
        while text.count < 12 {
            let logits = try sequence.lastLogits()
            let allowed = logits.indices.filter { ![1, 39].contains($0) && (images < 2 || $0 != 38) }
            let token = Int32(try #require(allowed.max { logits[$0] < logits[$1] }))
            if token == 2 { break }
            sequence.append([token])
            if token == 38 {
                if !text.isEmpty { expected.append(.text(text)) }
                text = []
                expected.append(.image(try addImage(images)))
                images += 1
            } else {
                text.append(token)
            }
        }
        if !text.isEmpty { expected.append(.text(text)) }

        let found = try small.generator.continuation(of: prompt, settings, seed: 5)
        #expect(found.count == expected.count)
        for (part, other) in zip(found, expected) {
            switch (part, other) {
            case (.text(let a), .text(let b)): #expect(a == b)
            case (.image(let a), .image(let b)): #expect(relativeError(a, b) < 1e-5)
            default: Issue.record("\(part) in the place of \(other)")
            }
        }
        #expect(images == 2)
    }

    @Test func textNeverHasTokensThatTheModelDoesNotWrite() throws {
        let small = SmallModel()
        var settings = Generator.Continuation()
        settings.text.maximumTokens = 60
        settings.text.temperature = 3
        for seed in 0..<8 {
            let parts = try small.generator.continuation(of: [.text([4])], settings, seed: UInt64(seed))
            guard case .text(let tokens)? = parts.first else { continue }
            #expect(parts.count == 1 && tokens.count <= 60)
            #expect(tokens.allSatisfy { ![1, 2, 38, 39].contains($0) && (0..<40).contains($0) })
        }
    }

    @Test func aCaptionIsNeverEmpty() throws {
        let small = SmallModel()
        var sequence = Recomputation(small)
        sequence.append([1, 38])
        sequence.append(image: small.image(1), timestep: 0)
        sequence.append([39])
        // The row of EOS in the head becomes what the last norm gives after the image, so that EOS is the first choice.
        let head = try #require(small.model.parameters["lm_head.weight"])
        let width = small.configuration.width
        let hidden = try sequence.hidden().rows.floats().suffix(width)
        for (column, value) in hidden.enumerated() { head.value.f32[2 * width + column] = 10 * value }
        let logits = try sequence.lastLogits()
        #expect(logits.indices.max { logits[$0] < logits[$1] } == 2)
        let best = logits.indices.filter { ![1, 2, 38, 39].contains($0) }.max { logits[$0] < logits[$1] }

        let nothing = try small.generator.continuation(of: [.image(small.image(1))], .init(), seed: 0)
        #expect(nothing.isEmpty)
        let caption = try small.generator.caption(of: small.image(1), TextSettings(), seed: 0)
        #expect(caption.first.map(Int.init) == best)
    }

    @Test func textEndsWithTheContext() throws {
        let small = SmallModel(contextLength: 10)
        // Without EOS: its logit is never the largest, all others are equal.
        let head = try #require(small.model.parameters["lm_head.weight"])
        head.value.fill(0)
        var settings = Generator.Continuation()
        let parts = try small.generator.continuation(of: [.text([4, 5, 6])], settings, seed: 0)
        // BOS and three tokens are there; of the equal logits the first token is taken.
        #expect(parts == [.text([Int32](repeating: 0, count: 6))])

        #expect(throws: CommandFailure.self) {
            try small.generator.continuation(of: [.text([Int32](repeating: 4, count: 10))], settings, seed: 0)
        }
        settings.maximumImages = 1
        settings.beginsWithImage = true
        #expect(throws: CommandFailure.self) {
            try small.generator.continuation(of: [.text([4, 5, 6])], settings, seed: 0)
        }
        #expect(throws: CommandFailure.self) {
            try small.generator.images(for: [[4, 5, 6]], seeds: [.init(0)], ImageSettings())
        }
    }
}
