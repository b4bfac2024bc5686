import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionEvaluation

struct RankedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ranked",
        abstract: "Says how often a model finds the right answer the likeliest.",
        discussion: """
            tf-eval ranked -m runs/quickstart --task piqa.jsonl
            mpirun -n 2 tf-eval ranked -m model --task piqa.jsonl --json

            A line of the task is {"context": "The sky is", "choices": ["blue", "a fish"],
            "gold": 0}, or {"contexts": [...], "continuation": "...", "gold": 0} where
            the contexts differ. acc is the share of right answers by likelihood, acc_norm
            by likelihood per character, acc_bytes per byte. The numbers are the same for
            any number of ranks.
            """)

    @OptionGroup var model: ModelOptions

    @Option(help: "A file with one question a line.")
    var task: String

    @Option(help: "What stands between context and answer.")
    var delimiter = " "

    @Flag(help: "Print JSON, in the form of lm-evaluation-harness.")
    var json = false

    func run() throws {
        var evaluation = RankedEvaluation(model: model.request, task: task)
        evaluation.delimiter = delimiter
        guard let report = try measureOnAllRanks({ try evaluation.run($0, ranksOnHost: $1, warn: $2) }) else { return }
        if report.truncated > 0 {
            StandardStream.error.write(
                "warning: \(report.truncated) answers do not fit with their context; its beginning was cut off\n")
        }
        if json { return try printJSON(report) }
        for (task, scores) in report.results {
            print("\(task): \(report.questions) questions")
            for name in ["acc", "acc_norm", "acc_bytes"] {
                guard let score = scores[name + ",none"] else { continue }
                let error = scores[name + "_stderr,none"].map { String(format: " ± %.4f", $0) } ?? ""
                print(
                    "\(name.padding(toLength: 9, withPad: " ", startingAt: 0))  \(String(format: "%.4f", score))\(error)"
                )
            }
        }
    }
}
