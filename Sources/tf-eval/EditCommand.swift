import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionEvaluation

struct EditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edit",
        abstract: "Says how well pictures were changed as instructions said.",
        discussion: """
            tf-sample edit -m runs/edits --data data/edits --out changed
            tf-eval edit changed --data data/edits --json

            The folder holds pictures and prompts.jsonl, as 'tf-sample edit' writes them
            for a data set, or for a list that names targets. L1 is the mean absolute
            difference to the target, of values of 0 to 1; outside is where source and
            target are alike. For an instruction such as 'make it blue' it also says
            whether the picture has that colour: of all colours of the data set, or of the
            targets, that which is nearest to the median of what is not white.
            """)

    @Argument(help: "A folder with pictures and prompts.jsonl.")
    var pictures: String

    @Option(help: "The data set of shapes that shows what the colours are; by default the targets do.")
    var data: String?

    @Option(help: "The weights of Inception v3 that pytorch-fid distributes, to compare features too.")
    var features: String?

    @Option(help: "How pictures are resized for the network: as pytorch-fid does, or as clean-fid does.")
    var variant = InceptionFeatures.Variant.pytorch

    @OptionGroup var threads: RankThreadsOption

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        var evaluation = EditEvaluation(pictures: pictures)
        evaluation.data = data
        evaluation.weights = features
        evaluation.variant = variant
        evaluation.threads = threads.count
        guard let report = try measureOnAllRanks({ group, ranks, _ in try evaluation.run(group, ranksOnHost: ranks) })
        else { return }
        if json { return try printJSON(report) }
        print("\(report.edits) edits")
        print(String(format: "L1 to the target  %.4f  (doing nothing: %.4f)", report.l1, report.l1OfSource))
        if let outside = report.l1Outside { print(String(format: "L1 outside        %.4f", outside)) }
        if let right = report.rightColours, let colours = report.colours {
            let share = 100 * Double(right) / Double(max(1, colours))
            print(String(format: "right colour      %d of %d (%.1f %%)", right, colours, share))
        }
        if let distance = report.featureDistance, let network = report.network {
            print(String(format: "feature distance  %.4f", distance) + "  (\(network))")
        }
    }
}
