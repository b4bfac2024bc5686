import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionData
import TransfusionModels
import _TestUtilities

@testable import TransfusionInference

/// Images that are tokens: drawn one by one, and made pictures by their codebook.
struct ImageTokensTests {
    private func settings(scale: Double, temperature: Double) -> ImageSettings {
        var settings = ImageSettings()
        (settings.guidanceScale, settings.temperature, settings.topP) = (scale, temperature, 0.95)
        return settings
    }

    private func start(_ small: SmallModel, _ tokens: [Int32]) -> Recomputation {
        var sequence = Recomputation(small)
        sequence.append([1] + tokens + [38])
        return sequence
    }

    /// The slow way: both branches as a whole for each token.
    private func drawn(
        after sequence: Recomputation, _ settings: ImageSettings, seed: UInt64, index: Int = 0
    ) throws -> [Float] {
        let small = sequence.small, text = small.configuration.textVocabulary
        var with = sequence, without = start(small, [])
        let sampler = TokenSampler(
            settings.tokenSettings, Philox(seed: seed, purpose: .sampling, index: index))
        return try (0..<small.configuration.patchesPerImage).map { place in
            let (known, free) = (try with.lastLogits()[text...], try without.lastLogits()[text...])
            let guided = zip(known, free).map { $1 + Float(settings.guidanceScale) * ($0 - $1) }
            let code = sampler.choose(from: guided, at: place) { _ in true }
            with.append([Int32(text) + code])
            without.append([Int32(text) + code])
            return Float(code)
        }
    }

    @Test(arguments: [1.0, 3.0], [0.0, 1.0]) func imagesEqualRecomputation(_ scale: Double, temperature: Double) throws
    {
        let small = SmallModel(codes: 9), settings = settings(scale: scale, temperature: temperature)
        let prompts: [[Int32]] = [[5, 6, 7], [], [9, 10, 11, 12, 13, 14, 15]]
        let seeds = (0..<3).map { Generator.ImageSeed(20 + $0) }
        var progress: [Int] = []
        let images = try small.generator.images(for: prompts, seeds: seeds, settings) { progress.append($0) }
        #expect(progress == (1...24).map { 3 * $0 })
        for (index, prompt) in prompts.enumerated() {
            let expected = try drawn(after: start(small, prompt), settings, seed: 20 + UInt64(index))
            #expect(images[index] == expected, "prompt \(index)")
        }
        #expect(images.joined().allSatisfy { (0..<9).contains($0) } && images[0] != images[2])
        let alone = SmallModel(codes: 9, memoryLimit: 1)
        #expect(try alone.generator.images(for: prompts, seeds: seeds, settings) == images)
    }

    /// Two pictures in a text, and text between them that no code of an image gets into.
    @Test func textsGoOnAfterTheirImages() throws {
        let small = SmallModel(codes: 9)
        var settings = Generator.Continuation()
        settings.image = self.settings(scale: 3, temperature: 1)
        settings.image.draw(tokens: 24)
        (settings.maximumImages, settings.beginsWithImage, settings.text.maximumTokens) = (1, true, 5)
        let parts = try small.generator.continuation(of: [.text([5, 6])], settings, seed: 4)
        var sequence = start(small, [5, 6])
        let image = try drawn(after: sequence, settings.image, seed: 4)
        #expect(parts[0] == .image(image))
        sequence.append(small.configuration.imageTokens(image) + [39])
        let logits = try sequence.lastLogits()
        let allowed = (0..<38).filter { $0 != 1 }
        let best = Int32(try #require(allowed.max { (logits[$0], $1) < (logits[$1], $0) }))
        if best == 2 {
            #expect(parts.count == 1)
        } else {
            guard case .text(let tokens)? = parts.dropFirst().first else { throw DataError("no text follows") }
            #expect(tokens[0] == best && tokens.allSatisfy { $0 < 38 })
        }
        // A picture that was given is read as one that was drawn.
        var caption = Generator.Continuation()
        caption.text.maximumTokens = 3
        let given = try small.generator.continuation(of: [.text([5, 6]), .image(image)], caption, seed: 4)
        #expect(given.isEmpty == (best == 2))
        settings.maximumImages = 2
        settings.text.maximumTokens = 60
        let several = try small.generator.continuation(of: [.text([5, 6])], settings, seed: 4)
        #expect(several[0] == .image(image))
    }

    @Test func editsAreGuidedByTheirOriginal() throws {
        let small = SmallModel(codes: 9), original = (0..<24).map { Float($0 % 9) }
        var settings = settings(scale: 3, temperature: 0)
        settings.originalGuidanceScale = 1.2
        let text = small.configuration.textVocabulary, image = small.configuration.imageTokens(original)
        let shown: [Int32] = [1, 38] + image
        let sequences: [[Int32]] = [shown + [39, 5, 6, 38], shown + [39, 38], [1, 38]]
        var branches = sequences.map { tokens in
            var sequence = Recomputation(small)
            sequence.append(tokens)
            return sequence
        }
        var expected: [Float] = []
        for _ in 0..<24 {
            let found: [[Float]] = try branches.map { try Array($0.lastLogits()[text...]) }
            var guided: [Float] = []
            for code in 0..<9 {
                let all = found[0][code], own = found[1][code], free = found[2][code]
                let withOriginal: Float = free + 1.2 * (own - free)
                guided.append(withOriginal + 3 * (all - own))
            }
            let highest = try #require(guided.max()), best = try #require(guided.firstIndex(of: highest))
            for index in branches.indices { branches[index].append([Int32(text + best)]) }
            expected.append(Float(best))
        }
        let images = try small.generator.images(
            for: [.init(prompt: [5, 6], original: original)], seeds: [.init(1)], settings)
        #expect(images == [expected])
    }

    /// The codes of a picture become exactly the picture that the autoencoder makes of it.
    @Test(arguments: [ElementType.f32, .bf16]) func codesBecomeTheReconstruction(_ type: ElementType) throws {
        let pictures = try SmallDataset(), directory = try TemporaryDirectory()
        let path = Fixtures.path("autoencoder/vq")
        var encoding = DatasetEncoding(dataset: pictures.path, autoencoder: path, output: directory.file("codes"))
        (encoding.storesCodes, encoding.type, encoding.batch) = (true, type, 7)
        let report = try encoding.run()
        #expect(report.shape == [1, 4, 4] && report.codes == 40 && report.mean == nil)
        #expect(PackedDataset.verify(report.path).isEmpty)
        let source = try PackedDataset(pictures.path), codes = try PackedDataset(report.path)
        #expect(codes.manifest.description == "made by a test; codes of the autoencoder vq")
        let weights = try AutoencoderWeights(path)
        #expect(try codes.manifest.autoencoder?.digest == weights.digest())
        let context = Context.forTests(type)
        let model = Autoencoder(weights.configuration, context)
        try weights.load(into: model.parameters)
        let coder = try PictureCoder(of: codes, for: SmallModel(codes: 9).configuration, context)
        var used: Set<Float> = []
        for index in 0..<24 {
            let pixels = try source.image(index)
            let pass = model.reconstruct(
                context.pictures(pixels, [1, 3, 8, 8]), target: nil, noise: nil,
                scales: .init(absoluteError: 0, latentError: 0), context)
            let found = try codes.image(index)
            let own = try #require(pass.codes)
            #expect(Array(own.i32) == found.map { Int32($0) }, "image \(index)")
            let expected = Picture(width: 8, height: 8, planes: context.channelsFirst(pass.reconstruction))
            #expect(coder.picture(of: found).rgb == expected.rgb, "image \(index)")
            used.formUnion(found)
        }
        #expect(report.codesUsed == used.count && used.count > 1)
        // A picture becomes the same codes on the way of a caption.
        let picture = Picture(width: 8, height: 8, planes: try source.image(3))
        let prepared = picture.planes.map { Float($0) / 127.5 - 1 }
        let again = model.codes(of: context.pictures(prepared, [1, 3, 8, 8]), context).map { Float($0) }
        #expect(coder.image(of: picture) == again)
    }

    @Test func latentsAreNoCodes() throws {
        let pictures = try SmallDataset(), directory = try TemporaryDirectory()
        var encoding = DatasetEncoding(
            dataset: pictures.path, autoencoder: Fixtures.path("autoencoder/kl"), output: directory.file("codes"))
        encoding.storesCodes = true
        let error = #expect(throws: DataError.self) { try encoding.run() }
        #expect(error?.description.contains("has no codes (it is of the kind kl)") == true)
        #expect(!FileManager.default.fileExists(atPath: directory.file("codes")))
    }
}
