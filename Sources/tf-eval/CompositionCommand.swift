import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionEvaluation
import TransfusionInference

struct CompositionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "composition",
        abstract: "Says whether pictures show what, how many, in which colours and where.",
        discussion: """
            tf-eval composition -m runs/scenes --data data/scenes
            mpirun -n 2 tf-eval composition -m runs/scenes --data data/scenes --out drawn
            tf-eval composition -m model --prompts evaluation_metadata.jsonl --samples 4 \\
              --out for-geneval
            tf-eval composition drawn

            Draws the captions of a split of a data set that 'tf-data scenes' made, or
            prompts in the form of GenEval, or takes a folder of pictures: what --out or
            'tf-sample image' wrote. Scenes of shapes are judged exactly; --out keeps
            pictures as GenEval's own scorer reads them, which judges all others. The
            numbers are the same for any number of ranks.
            """)

    @Argument(help: "A folder of pictures that are drawn already.")
    var pictures: String?

    @Option(
        name: [.customLong("checkpoint"), .customShort("m")],
        help: "A run, its checkpoints, one checkpoint, or a directory of weights: safetensors, hf-llama or meta-llama.")
    var checkpoint: String?

    @Option(help: "A data set of scenes.")
    var data: String?

    @Option(help: "With --data, the split whose captions are drawn (default: held_out).")
    var split: String?

    @Option(help: "A file of prompts in the form of GenEval's evaluation_metadata.jsonl.")
    var prompts: String?

    @Option(help: "Pictures of each prompt.")
    var samples = 1

    @Option(help: "Draw at most this many prompts.")
    var limit: Int?

    @Option(name: [.customLong("out"), .customShort("o")], help: "A new directory that keeps the pictures.")
    var out: String?

    @OptionGroup var drawing: DrawingOptions
    @OptionGroup var computing: ComputingOptions

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        let sources = [pictures, data, prompts].compactMap(\.self)
        guard sources.count == 1 else { throw ValidationError("give a folder of pictures, or --data, or --prompts") }
        guard (pictures == nil) == (checkpoint != nil) else {
            throw ValidationError("--checkpoint says what draws --data or --prompts, and does not go with a folder")
        }
        if pictures != nil, out != nil || limit != nil || samples != 1 || !drawing.isUsual {
            throw ValidationError(
                "--out, --limit, --samples, --steps, --guidance, --seed and --autoencoder say how pictures are drawn, which those "
                    + "of a folder are already; leave them out")
        }
        if data == nil, split != nil { throw ValidationError("--split goes with --data") }
        if let limit, limit < 1 { throw ValidationError("--limit must be above 0, not \(limit)") }
        guard (1...1000).contains(samples) else {
            throw ValidationError("--samples must lie between 1 and 1000, not \(samples)")
        }
    }

    func run() throws {
        let evaluation: CompositionEvaluation
        if let checkpoint {
            var request = computing.request(checkpoint)
            request.autoencoder = drawing.autoencoder
            var settings = CompositionDrawing(
                model: request,
                prompts: prompts.map { .file($0) } ?? .dataset(data ?? "", split: split ?? "held_out"))
            settings.settings = drawing.settings
            settings.seed = drawing.seed
            settings.samples = samples
            settings.limit = limit
            settings.output = out
            evaluation = CompositionEvaluation(.drawn(settings))
        } else {
            evaluation = CompositionEvaluation(.folder(pictures ?? ""))
        }
        guard let report = try measureOnAllRanks({ try evaluation.run($0, ranksOnHost: $1, warn: $2) }) else { return }
        if json { return try printJSON(report) }
        print("\(report.prompts) prompts, \(report.pictures) pictures" + (out.map { " in \($0)" } ?? ""))
        if report.unscored > 0 {
            print("\(report.unscored) pictures are of no scene of shapes; GenEval's own scorer judges them")
        }
        for (name, share) in [
            ("presence", report.presence), ("count   ", report.count), ("colour  ", report.colour),
            ("position", report.position), ("all     ", report.all),
        ] {
            guard let share else { continue }
            print("\(name)  \(String(format: "%.4f", share.accuracy))  (\(share.right) of \(share.total))")
        }
    }
}
