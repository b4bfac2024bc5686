import ArgumentParser
import TransfusionCheckpoint
import TransfusionConfig

struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compares two checkpoints, or safetensors files, bit for bit.",
        discussion: """
            Layouts and compression may differ. The exit code is 0 only if every tensor
            is there twice and bit-equal.

            EXAMPLES
              tf-ckpt diff runs/a runs/b
              tf-ckpt diff model.safetensors runs/b/checkpoints/step-00000100 --json
            """)

    @Argument(help: "A run, a checkpoint, or safetensors.")
    var first: String

    @Argument(help: "What to compare it with.")
    var second: String

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        var line: ProgressLine?
        let comparison = try TensorComparison(first, second) { done, total in
            if line == nil { line = ProgressLine("comparing tensors", total: total) }
            line?.update(done)
        }
        line?.clear()
        if json {
            try printJSON(comparison)
        } else {
            for name in comparison.onlyInFirst { print("only in \(first): \(name)") }
            for name in comparison.onlyInSecond { print("only in \(second): \(name)") }
            for difference in comparison.different {
                let detail =
                    difference.kinds.map { $0.joined(separator: " and ") }
                    ?? "\(difference.differingElements) of \(difference.elements) elements differ"
                    + (difference.largest.map { ", by at most \($0)" } ?? ", some not finite")
                print("different: \(difference.name): \(detail)")
            }
            print("\(comparison.equal) tensors are bit-equal")
        }
        if !comparison.isEqual { throw ExitCode(1) }
    }
}
