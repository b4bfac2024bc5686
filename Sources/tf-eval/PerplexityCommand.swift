import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionEvaluation

struct PerplexityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "perplexity",
        abstract: "Says how well a model predicts texts.",
        discussion: """
            tf-eval perplexity -m runs/quickstart held-out.txt
            mpirun -n 2 tf-eval perplexity -m model pages.jsonl --context 1024

            A .jsonl file holds a document in the "text" of each line, any other file is
            one document. Each document is read through windows of --context rows, so
            that every token is predicted once. The numbers are the same for any number
            of ranks.
            """)

    @OptionGroup var model: ModelOptions

    @Argument(help: "Files of UTF-8 text.")
    var files: [String]

    @Option(help: "Rows that the model sees at once; by default the longest sequence that it was trained on.")
    var context: Int?

    @Option(help: "Tokens that each window after the first predicts; by default all of it, from one token.")
    var stride: Int?

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        var evaluation = PerplexityEvaluation(model: model.request, files: files)
        evaluation.context = context
        evaluation.stride = stride
        guard let report = try measureOnAllRanks({ try evaluation.run($0, ranksOnHost: $1, warn: $2) }) else { return }
        if json { return try printJSON(report) }
        print(
            "\(report.documents) documents, \(report.tokens) tokens, \(report.windows) windows of \(report.context) rows, "
                + "stride \(report.stride)")
        print(String(format: "token perplexity  %.4f", report.tokenPerplexity))
        print("word perplexity   " + (report.wordPerplexity.map { String(format: "%.4f", $0) } ?? "too large"))
        print(String(format: "byte perplexity   %.4f", report.bytePerplexity))
        print(String(format: "bits per byte     %.4f", report.bitsPerByte))
    }
}
