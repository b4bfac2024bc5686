/// How rows are packed. The defaults are the paper's.
public struct BatchSettings: Equatable, Sendable {
    public var sequenceLength: Int
    /// Rows of one training step, over all ranks.
    public var globalSequences: Int
    public var seed: UInt64
    /// How often the caption comes before its image.
    public var captionFirst = 0.8
    /// How often an image comes without its caption, for guidance. Every pair takes its turn: with 0.1, once in ten epochs.
    public var captionDropout = 0.1
    /// Images that come before their caption get timesteps below this.
    public var noiseCap = 500
    public var timesteps = 1000
    /// Text tokens (captions and markers included) for each image patch.
    public var textToImageRatio = 1.0
    /// Captions are cut to so many tokens; nil leaves them whole.
    public var longestCaption: Int?
    /// Mirrors half of the pictures of the split "train".
    public var horizontalFlip = false

    public init(sequenceLength: Int, globalSequences: Int, seed: UInt64) {
        self.sequenceLength = sequenceLength
        self.globalSequences = globalSequences
        self.seed = seed
    }

    func check() throws(DataError) {
        func require(_ holds: Bool, _ problem: String) throws(DataError) {
            if !holds { throw DataError(problem) }
        }
        try require(
            (1...1 << 24).contains(sequenceLength), "sequence_length: \(sequenceLength) is outside 1 … 16777216")
        try require(
            (1...1 << 24).contains(globalSequences), "global_sequences: \(globalSequences) is outside 1 … 16777216")
        try require((0...1).contains(captionFirst), "caption_first: \(captionFirst) is no probability")
        try require((0...1).contains(captionDropout), "caption_dropout: \(captionDropout) is no probability")
        try require((1...1 << 30).contains(timesteps), "timesteps: \(timesteps) is no number of timesteps")
        try require((1...timesteps).contains(noiseCap), "noise_cap: \(noiseCap) is outside 1 … \(timesteps)")
        try require((longestCaption ?? 1) > 0, "longest_caption: must be positive")
        try require((0...1e6).contains(textToImageRatio), "text_to_image_ratio: \(textToImageRatio) is outside 0 … 1e6")
    }
}
