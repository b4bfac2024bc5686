import TransfusionCore
public import TransfusionModels

/// Some sequences of a global batch, ready for the model.
public struct MicroBatch: Sendable {
    /// The rows of all sequences, one after the other.
    public let layout: RowLayout
    /// `[imageCount, channels, height, width]`, pixels in -1 … 1. Images that are tokens stand in the layout, and nothing is said
    /// of them here.
    public let images: [Float]
    /// Each image's index within the global batch of the step: the address of its noise and timestep, the same whichever rank
    /// computes it. The two images of an edit have one index.
    public let imageIndices: [Int]
    /// One past the largest timestep each image may get; 0 for the original of an edit, which is shown as it is and has no loss.
    public let timestepLimits: [Int]
    /// Each image's data set, by its place in the mixture.
    public let sources: [Int]
    /// Each image's pair in its data set.
    public let pairs: [Int]
}
