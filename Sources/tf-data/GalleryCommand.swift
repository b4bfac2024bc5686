import ArgumentParser
import TransfusionData

extension DataCommand {
    struct Gallery: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a data set of photographs and drawings with their captions.",
            discussion: """
                About 5,500 pairs from Debian's packages tuxpaint-stamps-default,
                openclipart-png and openclipart-svg, which
                'deploy/install-dependencies.sh --with-gallery' installs; definitions of
                WordNet, and sayings of fortunes where that is installed, are the text.
                Pictures lie on a white square. Three of a hundred are for validation,
                three for tests, chosen by what they show. docs/data-licences.md says
                under which licences they are. The data set holds a picture of some of
                its pictures, sheet.png.

                EXAMPLES
                  tf-data gallery --out data/gallery
                  tf-data gallery --size 128 --pieces 8192 --out data/gallery128
                """)

        @Option(help: "Pixels on a side, 8 … 256.")
        var size = 64

        @Option(help: "Tux Paint's directory of stamps.")
        var stamps: String?

        @Option(help: "The directory with the clip art's folders png and svg.")
        var clipart: String?

        @Option(help: "The directory with the files of fortunes.")
        var fortunes: String?

        @OptionGroup var example: ExampleOptions

        func run() throws {
            var settings = GalleryDataset()
            settings.size = size
            if let pieces = example.pieces { settings.pieces = pieces }
            settings.tokenizerPath = example.tokenizer
            if let stamps { settings.stampsDirectory = stamps }
            if let clipart { settings.clipArtDirectory = clipart }
            if let wordnet = example.wordnet { settings.wordNetDirectory = wordnet }
            if let fortunes { settings.fortunesDirectory = fortunes }
            try example.build(show: print) { try settings.build(at: $0, progress: $1.update) }
        }

        private func print(_ report: GalleryDataset.Report) {
            Swift.print("\(report.path): data set \(report.digest.prefix(12))")
            for split in ["train", "validation", "test"] {
                let pairs = report.pairs[split] ?? 0, documents = report.documents[split] ?? 0
                if pairs + documents > 0 { Swift.print("  \(split): \(pairs) pairs, \(documents) text documents") }
            }
            Swift.print("  tokens: \(report.captionTokens) in captions, \(report.textTokens) in text")
            Swift.print("  vocabulary: \(report.vocabulary), tokenizer \(report.tokenizerDigest.prefix(12))")
            if report.withoutCaption > 0 { Swift.print("  left out, without a caption: \(report.withoutCaption)") }
            if report.blank > 0 { Swift.print("  left out, of one colour: \(report.blank)") }
            if !report.unreadable.isEmpty {
                Swift.print("  left out, cannot be read: \(report.unreadable.count)")
                for problem in report.unreadable.prefix(50) { Swift.print("    \(problem)") }
            }
            for note in report.tokenizerNotes { Swift.print("  tokenizer: \(note)") }
            Swift.print("  a look at it: \(report.path)/sheet.png")
        }
    }
}
