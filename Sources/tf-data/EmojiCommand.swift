public import ArgumentParser
public import TransfusionData

extension EmojiDataset.Subset: ExpressibleByArgument {}

extension DataCommand {
    struct Emoji: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a data set of emoji pictures with their names, and of WordNet's definitions as text.",
            discussion: """
                Needs the packages fonts-noto-color-emoji, unicode-data, wordnet-base and
                fonts-dejavu-core. Some pairs are held out of training: they lie in the
                split 'held_out'. Skin tones lie in the split 'variants'. The data set
                holds a picture of its pictures, sheet.png.

                EXAMPLES
                  tf-data emoji --out data/shapes
                  tf-data emoji --edits --out data/edits
                  tf-data emoji --hold-out 'red square' --hold-out 'blue circle' \\
                    --out data/mine
                  tf-data emoji --subset all --size 64 --pieces 4096 --out data/emoji
                """)

        @Option(help: "The directory to make; it must not exist.")
        var out: String

        @Option(help: "shapes (a colour and a shape), faces, or all.")
        var subset = EmojiDataset.Subset.shapes

        @Option(help: "Pixels on a side, 8 … 128.")
        var size = 32

        @Option(help: "A name to keep out of training; may be given again. 'none' holds nothing out.")
        var holdOut: [String] = []

        @Flag(help: "Also edits: shapes in other colours ('make it blue'), or people in other skin tones.")
        var edits = false

        @Option(help: "Pieces of the tokenizer to train (default: 1024 for shapes, else 4096).")
        var pieces: Int?

        @Option(help: "A SentencePiece .model or a tokenizer.json to use instead of training one.")
        var tokenizer: String?

        @Option(help: "The font file with colour bitmaps.")
        var font: String?

        @Option(help: "Unicode's emoji-test.txt.")
        var names: String?

        @Option(help: "The directory with WordNet's data files.")
        var wordnet: String?

        @Flag(help: "Print the report as JSON.")
        var json = false

        func validate() throws {
            if pieces != nil, tokenizer != nil {
                throw ValidationError("--pieces: a given --tokenizer is not trained; leave one of the two away")
            }
        }

        func run() throws {
            var settings = EmojiDataset(subset: subset)
            settings.size = size
            if !holdOut.isEmpty { settings.heldOut = holdOut == ["none"] ? [] : holdOut }
            settings.hasEdits = edits
            if let pieces { settings.pieces = pieces }
            settings.tokenizerPath = tokenizer
            if let font { settings.fontPath = font }
            if let names { settings.namesPath = names }
            if let wordnet { settings.wordNetDirectory = wordnet }
            let cleanup = InterruptionCleanup()
            defer { withExtendedLifetime(cleanup) {} }
            let progress = PhaseProgress()
            let report = try progress.during { try settings.build(at: out, progress: progress.update) }
            if json { try printJSON(report) } else { print(report) }
        }

        private func print(_ report: EmojiDataset.Report) {
            Swift.print("\(report.path): data set \(report.digest.prefix(12))")
            for split in ["train", "validation", "held_out", "variants"] {
                let pairs = report.pairs[split] ?? 0
                let documents = report.documents[split] ?? 0
                let edits = report.edits[split].map { $0 > 0 ? " (\($0) of them edits)" : "" } ?? ""
                if pairs + documents > 0 {
                    Swift.print("  \(split): \(pairs) pairs\(edits), \(documents) text documents")
                }
            }
            Swift.print("  tokens: \(report.captionTokens) in captions, \(report.textTokens) in text")
            Swift.print("  vocabulary: \(report.vocabulary), tokenizer \(report.tokenizerDigest.prefix(12))")
            if !report.withoutPicture.isEmpty {
                let some = report.withoutPicture.prefix(5).joined(separator: ", ")
                Swift.print("  left out, the font has no picture: \(report.withoutPicture.count) (\(some) …)")
            }
            if report.variantsWithoutBase > 0 {
                Swift.print("  left out, skin tones without a base or a picture: \(report.variantsWithoutBase)")
            }
            for note in report.tokenizerNotes { Swift.print("  tokenizer: \(note)") }
            Swift.print("  a look at it: \(report.path)/sheet.png")
        }
    }
}
