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

        @Option(help: "The directory to make; it must not exist.")
        var out: String

        @Option(help: "Scenes to train on.")
        var scenes = SceneDataset().scenes

        @Option(help: "Pixels on a side, 32 … 256.")
        var size = SceneDataset().size

        @Option(help: "Pieces of the tokenizer to train (default: 1024).")
        var pieces: Int?

        @Option(help: "A SentencePiece .model or a tokenizer.json to use instead of training one.")
        var tokenizer: String?

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
            var settings = SceneDataset()
            settings.scenes = scenes
            settings.size = size
            if let pieces { settings.pieces = pieces }
            settings.tokenizerPath = tokenizer
            if let wordnet { settings.wordNetDirectory = wordnet }
            let cleanup = InterruptionCleanup()
            defer { withExtendedLifetime(cleanup) {} }
            let progress = PhaseProgress()
            let report = try progress.during { try settings.build(at: out, progress: progress.update) }
            if json { try printJSON(report) } else { print(report) }
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
