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

        @Option(help: "shapes (a colour and a shape), faces, or all.")
        var subset = EmojiDataset.Subset.shapes

        @Option(help: "Pixels on a side, 8 … 128.")
        var size = 32

        @Option(help: "A name to keep out of training; may be given again. 'none' holds nothing out.")
        var holdOut: [String] = []

        @Flag(help: "Also edits: shapes in other colours ('make it blue'), or people in other skin tones.")
        var edits = false

        @Option(help: "The font file with colour bitmaps.")
        var font: String?

        @Option(help: "Unicode's emoji-test.txt.")
        var names: String?

        @OptionGroup var example: ExampleOptions

        func run() throws {
            var settings = EmojiDataset(subset: subset)
            settings.size = size
            if !holdOut.isEmpty { settings.heldOut = holdOut == ["none"] ? [] : holdOut }
            settings.hasEdits = edits
            if let pieces = example.pieces { settings.pieces = pieces }
            settings.tokenizerPath = example.tokenizer
            if let font { settings.fontPath = font }
            if let names { settings.namesPath = names }
            if let wordnet = example.wordnet { settings.wordNetDirectory = wordnet }
            try example.build(show: print) { try settings.build(at: $0, progress: $1.update) }
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
