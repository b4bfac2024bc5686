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

extension Generator {
    /// Draws an image for each prompt. Image i uses the seed `seed + i`, and its picture is called `00000i.png`.
    func images(
        of prompts: [Prompt], seed: UInt64, _ settings: ImageSettings, progress: (Int) -> Void = { _ in }
    ) throws -> [(record: PictureRecord, image: [Float])] {
        let seeds = prompts.indices.map { seed &+ UInt64($0) }
        let images = try images(
            for: prompts.map { Condition(prompt: $0.tokens, original: $0.original) },
            seeds: seeds.map { ImageSeed($0) }, settings, progress: progress)
        return zip(prompts.indices, images).map { i, image in
            let record = PictureRecord(
                file: PictureDirectory.name(i), prompt: prompts[i].text, seed: seeds[i], heldOut: prompts[i].heldOut)
            return (record, image)
        }
    }
}
