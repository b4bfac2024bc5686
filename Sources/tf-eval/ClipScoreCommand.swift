import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionEvaluation

struct ClipScoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clip-score",
        abstract: "Says how well pictures go with their prompts, by a CLIP model.",
        discussion: """
            tf-eval clip-score pictures --clip clip-vit-large-patch14
            mpirun -n 2 tf-eval clip-score pictures --clip clip-vit-base-patch32 --json

            The folder holds pictures and prompts.jsonl, as 'tf-sample image' writes them:
              {"file": "000000.png", "prompt": "a red circle"}
            The model is a directory of Hugging Face's: config.json, model.safetensors,
            and vocab.json with merges.txt or tokenizer.json. The score is 100 times the
            mean cosine of a picture and its prompt. The numbers are the same for any
            number of ranks.
            """)

    @Argument(help: "A folder with pictures and prompts.jsonl.")
    var pictures: String

    @Option(help: "The directory of a CLIP model.")
    var clip: String

    @OptionGroup var threads: RankThreadsOption

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        var evaluation = ClipScoreEvaluation(pictures: pictures, model: clip)
        evaluation.threads = threads.count
        guard let report = try measureOnAllRanks({ group, ranks, _ in try evaluation.run(group, ranksOnHost: ranks) })
        else { return }
        if report.cutPrompts > 0 {
            StandardStream.error.write(
                "warning: \(report.cutPrompts) prompts are longer than the model reads; their ends were cut off\n")
        }
        if json { return try printJSON(report) }
        print("\(report.pairs) pictures, by \(report.model)")
        print(String(format: "CLIP score  %.4f", report.clipScore))
    }
}
