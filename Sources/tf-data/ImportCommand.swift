public import ArgumentParser
import Foundation
import TransfusionConfig
public import TransfusionData
import TransfusionParallel

extension Picture.Fit: ExpressibleByArgument {}
extension Picture.Filter: ExpressibleByArgument {}
extension TextDocuments: ExpressibleByArgument {}

extension DataCommand {
    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a data set of your own pictures and texts.",
            discussion: """
                A folder holds pictures (PNG, JPEG, WebP, GIF) and metadata.jsonl with lines
                {"file_name": "a.png", "text": "its caption"}, or metadata.csv with these
                columns, or a text file beside each picture (a.png, a.txt).
                --webdataset reads tar files, plain or packed (.gz, .zst), of samples
                000.jpg, 000.txt, 000.json as img2dataset writes them.
                --coco reads MS-COCO's annotations of captions, or Karpathy's splits of them.
                --parquet reads Hugging Face's data sets: a column of pictures with one of
                captions, or, where there are no pictures, a column of texts.
                --edits reads pictures with an instruction and what comes of them: a JSONL
                file with lines {"source": "a.png", "instruction": "make it blue",
                "target": "b.png"}, a folder with edits.jsonl or laid out as
                InstructPix2Pix's, or Parquet with source_img, instruction, target_img.

                Pictures are turned as EXIF says, laid on white, cut to
                their centred square (--fit crop) or shown whole on a white one
                (--fit pad), and resized as Pillow does.
                One that has several captions, on a line each or in a list, is stored once.

                Texts are JSONL files with lines {"text": "…"}, plain text files, and
                Parquet files with a column of texts; the first two may be compressed
                by gzip or zstd. --megatron reads ids as Megatron-LM stores them. A
                folder of any of these stands for the files in it and below it, in the
                order of their paths.

                What cannot be used is named, all of it at once. --skip-bad leaves it out.
                Copies of pictures and texts are counted. --deduplicate leaves them out.
                An import that was interrupted goes on when it is started again as it was.
                Under mpirun or srun, with --out on a disk that all hosts see, the ranks share
                the work; the data set is the same.

                EXAMPLES
                  tf-data import --folder pictures --jsonl corpus.jsonl \\
                    --size 64 --out data/mine
                  tf-data import --webdataset 'laion/{00000..00041}.tar' --size 256 \\
                    --out data/laion
                  tf-data import --coco captions_train2017.json --pictures train2017 \\
                    --size 256 --out data/coco
                  mpirun -n 8 tf-data import --webdataset laion --tokenizer t.model \\
                    --out data/laion
                  tf-data import --parquet pokemon/data --size 128 --out data/pokemon
                  tf-data import --jsonl corpus.jsonl --tokenizer tokenizer.model \\
                    --out data/text
                  tf-data import --jsonl c4/ --tokenizer tokenizer.json --out data/c4
                  tf-data import --parquet wikipedia/ --text-key text --out data/wiki
                  tf-data import --edits magicbrush/data --size 256 --out data/edits
                  tf-data import --text book.txt.gz --text-documents paragraph \\
                    --out data/book
                """)

        @Option(help: "A folder of pictures with their captions; may be given again.")
        var folder: [String] = []

        @Option(help: "Shards of a WebDataset: a brace list of tar files, or a directory of them; may be given again.")
        var webdataset: [String] = []

        @Option(help: "A file of captions as COCO or Karpathy's splits have them; may be given again.")
        var coco: [String] = []

        @Option(help: "The folder of the pictures that --coco names: one for all such files, or one for each.")
        var pictures: [String] = []

        @Option(help: "What captions are called in metadata (default: text, caption or prompt).")
        var captionKey: String?

        @Option(help: "A JSONL file of texts, or a folder of such files; may be given again.")
        var jsonl: [String] = []

        @Option(help: "A plain text file, or a folder of such files; may be given again.")
        var text: [String] = []

        @Option(help: "What of a plain text file is one document: file, line or paragraph (up to a blank line).")
        var textDocuments: TextDocuments?

        @Option(
            help: "A Parquet file of pictures and captions, or of texts, or a folder of such files; may be given again."
        )
        var parquet: [String] = []

        @Option(help: "The column of pictures in Parquet files (default: the one that there is).")
        var imageKey: String?

        @Option(
            help:
                "Texts as ids of --tokenizer: Megatron-LM's .idx with its .bin, or a folder of such; may be given again."
        )
        var megatron: [String] = []

        @Option(help: "Edits: a JSONL file, a folder, or Parquet files; may be given again.")
        var edits: [String] = []

        @Option(help: "The key, or the column, of the texts (default: text).")
        var textKey: String?

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

        @Option(help: "A SentencePiece .model or a tokenizer.json to use instead of training one.")
        var tokenizer: String?

        @Option(help: "One picture and text in so many, 2 or more, goes to the split 'validation'; 0 for none.")
        var validationEvery = 50

        @Option(help: "Leave out pictures and lines that cannot be used, this many at most.")
        var skipBad = 0

        @Flag(help: "Leave out pictures that are stored like one before them, and texts equal to one before them.")
        var deduplicate = false

        @Flag(help: "Print the report as JSON.")
        var json = false

        func validate() throws {
            if (folder + webdataset + coco + jsonl + text + parquet + megatron + edits).isEmpty {
                throw ValidationError(
                    "--folder, --webdataset, --coco, --parquet, --edits, --jsonl, --text or --megatron: name a source"
                        + " of pictures or texts")
            }
            if !megatron.isEmpty, tokenizer == nil {
                throw ValidationError("--megatron: needs --tokenizer, the one that the ids are of")
            }
            if textDocuments != nil, text.isEmpty {
                throw ValidationError("--text-documents: is for --text, which is not given")
            }
            if textKey != nil, jsonl.isEmpty, parquet.isEmpty {
                throw ValidationError("--text-key: is for --jsonl and --parquet, which are not given")
            }
            if imageKey != nil, parquet.isEmpty {
                throw ValidationError("--image-key: is for --parquet, which is not given")
            }
            guard pictures.count == coco.count || pictures.count == 1 && !coco.isEmpty else {
                throw ValidationError(
                    "--pictures: give --coco its folder of pictures, one for all files or one for each")
            }
            if pieces != nil, tokenizer != nil {
                throw ValidationError("--pieces: a given --tokenizer is not trained; leave one of the two away")
            }
        }

        func run() throws {
            var settings = DatasetImport()
            settings.folders = folder
            settings.texts = jsonl
            settings.plainTexts = text
            if let textDocuments { settings.textDocuments = textDocuments }
            settings.parquets = parquet
            settings.megatrons = megatron
            settings.edits = edits
            settings.imageKey = imageKey
            settings.textKey = textKey
            settings.webDatasets = webdataset
            settings.captionFiles = coco.indices.map { (coco[$0], pictures[pictures.count == 1 ? 0 : $0]) }
            settings.captionKey = captionKey
            settings.size = size
            settings.fit = fit
            settings.filter = resample
            settings.tokenizerPath = tokenizer
            settings.validationEvery = validationEvery
            if let pieces { settings.pieces = pieces }
            settings.skipBad = skipBad
            settings.deduplicate = deduplicate
            let cleanup = InterruptionCleanup()
            defer { withExtendedLifetime(cleanup) {} }
            let launch = LaunchEnvironment.current
            guard launch.rank == 0 else { return try settings.help(at: out) }
            if launch.ranks > 1 { settings.role = .first }
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
            if report.edits > 0 { Swift.print("  edits among the pairs: \(report.edits)") }
            Swift.print("  different pictures: \(report.images); \(report.bytes) bytes in all")
            Swift.print(
                "  tokens: \(report.captionTokens) in captions (\(String(format: "%.1f", report.meanCaption)) each,"
                    + " longest \(report.longestCaption)), \(report.textTokens) in text;"
                    + " vocabulary \(report.vocabulary)")
            if report.picturesOfBefore + report.textBatchesOfBefore > 0 {
                Swift.print(
                    "  gone on with an interrupted import behind \(report.picturesOfBefore) pictures and"
                        + " \(report.textBatchesOfBefore) batches of text")
            }
            if report.beganAnew { Swift.print("  an interrupted import was begun anew, as its sources had changed") }
            let verdict = report.areDuplicatesLeftOut ? "left out" : "kept (--deduplicate leaves them out)"
            if report.duplicatePictures > 0 {
                Swift.print("  pictures stored like one before them: \(report.duplicatePictures), \(verdict)")
            }
            if report.duplicateTexts > 0 {
                Swift.print("  texts equal to one before them: \(report.duplicateTexts), \(verdict)")
            }
            if report.picturesWithoutCaption > 0 {
                Swift.print("  left out, pictures without a caption: \(report.picturesWithoutCaption)")
            }
            if report.failedDownloads > 0 {
                Swift.print("  left out, samples whose download failed: \(report.failedDownloads)")
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
