public import ArgumentParser
import TransfusionConfig
public import TransfusionData

extension Picture.Fit: ExpressibleByArgument {}
extension Picture.Filter: ExpressibleByArgument {}

extension DataCommand {
    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a data set of your own pictures and texts.",
            discussion: """
                A folder holds pictures (PNG, JPEG, WebP) and metadata.jsonl with lines
                {"file_name": "a.png", "text": "its caption"}; a text file has lines
                {"text": "…"}. Pictures are turned as EXIF says, laid on white, cut to
                their centred square (--fit crop) or shown whole on a white one
                (--fit pad), and resized as Pillow does.
                One that has several captions, on a line each, is stored once.

                What cannot be used is named, all of it at once. --skip-bad leaves it out.

                EXAMPLES
                  tf-data import --folder pictures --jsonl corpus.jsonl \\
                    --size 64 --out data/mine
                  tf-data import --jsonl corpus.jsonl --tokenizer tokenizer.model \\
                    --out data/text
                """)

        @Option(help: "A folder of pictures with metadata.jsonl; may be given again.")
        var folder: [String] = []

        @Option(help: "A file of texts; may be given again.")
        var jsonl: [String] = []

        @Option(help: "The directory to make; it must not exist.")
        var out: String

        @Option(help: "Pixels on a side.")
        var size = 32

        @Option(help: "How a picture becomes a square: crop (its middle) or pad (all of it, on white).")
        var fit = Picture.Fit.crop

        @Option(help: "How pictures are resized: bicubic or lanczos.")
        var resample = Picture.Filter.bicubic

        @Option(help: "Pieces of the tokenizer to train (default: 4096).")
        var pieces: Int?

        @Option(help: "A SentencePiece .model to use instead of training one.")
        var tokenizer: String?

        @Option(help: "One picture and text in so many, 2 or more, goes to the split 'validation'; 0 for none.")
        var validationEvery = 50

        @Option(help: "Leave out pictures and lines that cannot be used, this many at most.")
        var skipBad = 0

        @Flag(help: "Print the report as JSON.")
        var json = false

        func validate() throws {
            if folder.isEmpty, jsonl.isEmpty {
                throw ValidationError("--folder or --jsonl: name at least one folder of pictures or file of texts")
            }
            if pieces != nil, tokenizer != nil {
                throw ValidationError("--pieces: a given --tokenizer is not trained; leave one of the two away")
            }
        }

        func run() throws {
            var settings = DatasetImport()
            settings.folders = folder
            settings.texts = jsonl
            settings.size = size
            settings.fit = fit
            settings.filter = resample
            settings.tokenizerPath = tokenizer
            settings.validationEvery = validationEvery
            if let pieces { settings.pieces = pieces }
            settings.skipBad = skipBad
            let cleanup = InterruptionCleanup()
            defer { withExtendedLifetime(cleanup) {} }
            let progress = PhaseProgress()
            let report: DatasetImport.Report
            do {
                report = try progress.during { try settings.build(at: out, progress: progress.update) }
            } catch let error as BadInputError {
                throw CommandFailure(error.lines, .failure)
            }
            if json { try printJSON(report) } else { print(report) }
        }

        private func print(_ report: DatasetImport.Report) {
            Swift.print("\(report.path): data set \(report.digest.prefix(12))")
            for split in report.pairs.keys.sorted() {
                let documents = report.documents[split] ?? 0
                Swift.print("  \(split): \(report.pairs[split] ?? 0) pairs, \(documents) text documents")
            }
            Swift.print("  different pictures: \(report.images)")
            Swift.print(
                "  tokens: \(report.captionTokens) in captions (longest \(report.longestCaption)),"
                    + " \(report.textTokens) in text; vocabulary \(report.vocabulary)")
            if report.filesWithoutCaption > 0 {
                Swift.print("  left out, PNG files that metadata.jsonl does not name: \(report.filesWithoutCaption)")
            }
            if !report.skipped.isEmpty {
                Swift.print("  left out, cannot be used: \(report.skipped.count)")
                for problem in report.skipped { Swift.print("    \(problem)") }
            }
            if report.emptyTexts > 0 { Swift.print("  left out, empty texts: \(report.emptyTexts)") }
            for note in report.tokenizerNotes { Swift.print("  tokenizer: \(note)") }
        }
    }
}
