import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionEvaluation
import TransfusionInference

struct SuiteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "suite",
        abstract: "Runs the measures of the paper's Table 1 on a model, and writes a report.",
        discussion: """
            tf-eval suite -m runs/gallery
            mpirun -n 2 tf-eval suite -m runs/gallery --out suite --limit 500 \\
              --text c4.jsonl --text wiki.txt --task piqa.jsonl --task boolq.jsonl \\
              --features inception.pth --clip clip-vit-large-patch14

            Draws the captions of a data set's split, describes its pictures, and measures
            perplexity, ranked answers, CIDEr, Frechet distance, CLIP score and, on scenes
            of shapes, composition. What is not given is left out, and said. The directory
            keeps each part: started again, the suite does what is missing, and anew what
            was computed from something else. It gets report.md, report.json and
            sheet.png, the same for any number of ranks.
            """)

    @OptionGroup var model: ModelOptions

    @Option(
        name: [.customLong("out"), .customShort("o")],
        help: "The directory of the suite; by default 'suite' in the run that the model is from.")
    var out: String?

    @Option(help: "A data set made by tf-data; by default the first of the model's run.")
    var data: String?

    @Option(help: "The split whose captions are drawn, pictures described and texts read.")
    var split = "validation"

    @Option(help: "Draw and describe at most this many pictures.")
    var limit: Int?

    @Option(help: "A file of text for the perplexity, in place of the split's texts; may be given again.")
    var text: [String] = []

    @Option(help: "A file of questions as 'tf-eval ranked' reads it; may be given again.")
    var task: [String] = []

    @Option(
        help: "The weights of Inception v3 that pytorch-fid distributes, or 'random' for a distance that is no FID.")
    var features: String?

    @Option(help: "How pictures are resized for the network: as pytorch-fid does, or as clean-fid does.")
    var variant = InceptionFeatures.Variant.pytorch

    @Option(help: "The directory of a CLIP model.")
    var clip: String?

    @Option(help: "Tokens of a description at most.")
    var maxTokens = 64

    @Option(help: "Rows that the model sees at once of a text; by default the longest sequence that it was trained on.")
    var context: Int?

    @OptionGroup var drawing: DrawingOptions

    @Flag(help: "Print the report as JSON.")
    var json = false

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit must be above 0, not \(limit)") }
    }

    func run() throws {
        var request = model.request
        request.autoencoder = drawing.autoencoder
        var evaluation = SuiteEvaluation(model: request)
        evaluation.output = out
        evaluation.data = data
        evaluation.split = split
        evaluation.limit = limit
        evaluation.texts = text
        evaluation.tasks = task
        evaluation.features = features.map { $0 == "random" ? .random : .file($0) }
        evaluation.variant = variant
        evaluation.clip = clip
        evaluation.captionTokens = maxTokens
        evaluation.context = context
        evaluation.settings = drawing.settings
        evaluation.seed = drawing.seed
        let onRankZero = try measureOnAllRanks { group, ranks, warn in
            try evaluation.run(group, ranksOnHost: ranks, warn: warn) { StandardStream.error.write($0 + "\n") }
        }
        guard let report = onRankZero ?? nil else { return }
        if json { return try printJSON(report) }
        printTable(
            [["", "benchmark", "measure", "value"]]
                + report.table.map { [$0.kind, $0.benchmark, $0.measure, String(format: "%.4g", $0.value)] })
        for left in report.leftOut { print("left out: \(left.measure): \(left.reason)") }
    }
}
