internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData

/// A prompt on its way to a picture.
struct Prompt {
    let text: String
    let tokens: [Int32]
    /// Whether it was kept out of training, when that is known.
    var heldOut: Bool?
    /// The image that the prompt changes; nil to draw from nothing.
    var original: [Float]?

    init(_ text: String, _ tokenizer: Tokenizer) throws {
        self.text = text
        tokens = try tokenizer.encode(text)
    }

    init(_ text: String, tokens: [Int32], heldOut: Bool) {
        self.text = text
        self.tokens = tokens
        self.heldOut = heldOut
    }
}

extension LoadedModel {
    /// Draws a picture for each prompt, with a progress line, and says how many seconds it took.
    /// - Parameters:
    ///   - seed: Picture i uses `seed + i`; below 0, a seed is chosen at random.
    ///   - work: What the progress line calls it.
    func pictures(
        of prompts: [Prompt], seed: Int, _ settings: ImageSettings, _ coder: PictureCoder, work: String
    ) throws -> (drawn: [(record: PictureRecord, picture: Picture)], seconds: Double) {
        let seed = seed < 0 ? UInt64(UInt32.random(in: 0...UInt32.max)) : UInt64(seed)
        let start = ContinuousClock.now
        var line = ProgressLine(work, total: prompts.count * settings.steps)
        let images = try generator.images(of: prompts, seed: seed, settings) { done in
            line.update(done, "steps of \(prompts.count) pictures")
        }
        let drawn = images.map { (record: $0.record, picture: coder.picture(of: $0.image)) }
        line.clear()
        return (drawn, (ContinuousClock.now - start).inSeconds)
    }
}

extension Generator {
    /// Draws an image for each prompt. Image i uses the seed `seed + i`, and its picture is called `00000i.png`.
    /// - Parameter first: The number of the first image, where the prompts are a part of more.
    func images(
        of prompts: [Prompt], first: Int = 0, seed: UInt64, _ settings: ImageSettings,
        progress: (Int) -> Void = { _ in }
    ) throws -> [(record: PictureRecord, image: [Float])] {
        let seeds = prompts.indices.map { seed &+ UInt64(first + $0) }
        let images = try images(
            for: prompts.map { Condition(prompt: $0.tokens, original: $0.original) },
            seeds: seeds.map { ImageSeed($0) }, settings, progress: progress)
        return zip(prompts.indices, images).map { i, image in
            let record = PictureRecord(
                file: PictureDirectory.name(first + i), prompt: prompts[i].text, seed: seeds[i],
                heldOut: prompts[i].heldOut)
            return (record, image)
        }
    }
}
