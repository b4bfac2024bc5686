import ArgumentParser
import TransfusionData

extension DataCommand {
    struct Scenes: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a data set of scenes of shapes, for measuring what a model puts together.",
            discussion: """
                Circles, squares, triangles and diamonds in seven colours on white, with
                captions such as 'two red circles' or 'a red circle left of a blue
                square'. One caption in eight is held out of training: 'tf-eval
                composition' draws these and finds out what is right. Definitions of
                WordNet (wordnet-base) are the text. The data set holds a picture of some
                of its pictures, sheet.png.

                EXAMPLES
                  tf-data scenes --out data/scenes
                  tf-data scenes --scenes 20000 --size 64 --out data/scenes64
                """)

        @Option(help: "Scenes to train on.")
        var scenes = SceneDataset().scenes

        @Option(help: "Pixels on a side, 32 … 256.")
        var size = SceneDataset().size

        @OptionGroup var example: ExampleOptions

        func run() throws {
            var settings = SceneDataset()
            settings.scenes = scenes
            settings.size = size
            if let pieces = example.pieces { settings.pieces = pieces }
            settings.tokenizerPath = example.tokenizer
            if let wordnet = example.wordnet { settings.wordNetDirectory = wordnet }
            try example.build(show: print) { try settings.build(at: $0, progress: $1.update) }
        }

        private func print(_ report: SceneDataset.Report) {
            Swift.print("\(report.path): data set \(report.digest.prefix(12))")
            for split in ["train", "validation", "held_out"] {
                let pairs = report.pairs[split] ?? 0, documents = report.documents[split] ?? 0
                Swift.print("  \(split): \(pairs) pairs, \(documents) text documents")
            }
            Swift.print("  tokens: \(report.captionTokens) in captions, \(report.textTokens) in text")
            Swift.print("  vocabulary: \(report.vocabulary), tokenizer \(report.tokenizerDigest.prefix(12))")
            for note in report.tokenizerNotes { Swift.print("  tokenizer: \(note)") }
            Swift.print("  a look at it: \(report.path)/sheet.png")
        }
    }
}
