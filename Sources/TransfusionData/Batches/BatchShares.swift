internal import TransfusionCore
internal import TransfusionModels

/// What batches hold on average, beside what was asked for.
public struct BatchShares: Sendable, Equatable, Codable, CustomStringConvertible {
    /// Text tokens, captions and markers included, for each image patch; nil without images.
    public var textToImageRatio: Double?
    public var askedTextToImageRatio: Double
    /// Of a step; originals of edits are not counted.
    public var images: Double
    /// The share of rows that hold nothing.
    public var padding: Double
    /// The share of rows with text out of turn, which fills what the lengths of captions leave.
    public var spareText: Double
    /// Captions that `data.max_caption_tokens` cuts, and the tokens that they lose.
    public var cutCaptions: Int
    public var cutTokens: Int
    /// Whether these two are estimated from a sample.
    public var areEstimated: Bool
    /// Steps whose rows are packed together.
    public var stepsOfBlock: Int
    /// Why the ratio is not the one that was asked for, and what would mend it; nil when it is.
    public var reason: String?

    init(_ shape: BlockShape, _ captions: CaptionLengths?, _ settings: BatchSettings, _ model: ModelConfiguration) {
        let rows = Double(shape.rows * settings.sequenceLength)
        let patches = shape.meanPairs * (captions?.meanPatches(model, settings) ?? 0)
        let ofPairs = shape.meanPairs * shape.meanPair
        let isPadded = shape.limit == .noText
        askedTextToImageRatio = settings.textToImageRatio
        images = shape.meanPairs / Double(shape.steps)
        padding = isPadded ? max(0, rows - ofPairs) / rows : 0
        spareText = isPadded ? 0 : max(0, rows - ofPairs - Double(shape.text)) / rows
        textToImageRatio = patches > 0 ? ((isPadded ? ofPairs : rows) - patches) / patches : nil
        cutCaptions = captions?.cutCaptions ?? 0
        cutTokens = captions?.cutTokens ?? 0
        areEstimated = captions?.isSampled ?? false
        stepsOfBlock = shape.steps
        // Half a percent is what a whole number of steps may be off.
        let isReached =
            textToImageRatio.map { abs($0 - askedTextToImageRatio) <= 0.005 * askedTextToImageRatio } ?? true
        guard !isReached, let limit = shape.limit else { return }
        switch limit {
        case .noText: reason = "the split has no text but its captions; import text as well to change the ratio"
        case .captions:
            reason =
                "captions and markers alone are more text than that, so text only fills the ends of rows; "
                + "data.max_caption_tokens cuts captions"
        }
    }

    /// A line for a person.
    public var description: String {
        let cut =
            cutCaptions == 0
            ? ""
            : "; max_caption_tokens cuts \(areEstimated ? "about " : "")\(cutCaptions) captions, which lose "
                + "\(cutTokens) tokens"
        guard let ratio = textToImageRatio else { return "text only" }
        let wanted = reason.map { ", not the \(Self.short(askedTextToImageRatio)) of data.text_image_ratio: \($0)" }
        return "\(Self.short(ratio)) text tokens for each image patch\(wanted ?? ", as asked for"); "
            + "\(Self.short(images)) images a step, \(Self.short(100 * padding)) % padding\(cut)"
    }

    private static func short(_ number: Double) -> String {
        let scale: Double = abs(number) < 10 ? 1000 : 10
        let rounded = (number * scale).rounded() / scale
        return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
    }
}
