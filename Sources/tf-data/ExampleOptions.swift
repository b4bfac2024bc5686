import ArgumentParser
import TransfusionConfig

/// What every command takes that makes a data set of examples.
struct ExampleOptions: ParsableArguments {
    @Option(help: "The directory to make; it must not exist.")
    var out: String

    @Option(help: "Pieces of the tokenizer to train (default: 1024 for shapes and scenes, else 4096).")
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

    /// Builds a data set with its progress on the terminal, and prints its report as JSON or by `show`.
    func build<Report: Encodable>(
        show: (Report) -> Void, _ build: (_ path: String, _ progress: PhaseProgress) throws -> Report
    ) throws {
        let cleanup = InterruptionCleanup()
        defer { withExtendedLifetime(cleanup) {} }
        let progress = PhaseProgress()
        let report = try progress.during { try build(out, progress) }
        if json { try printJSON(report) } else { show(report) }
    }
}
