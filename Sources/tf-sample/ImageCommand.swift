import ArgumentParser
import Foundation
import TransfusionCore
import TransfusionInference
import TransfusionSupport

struct ImageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image", abstract: "Draws pictures for prompts.",
        discussion: """
            tf-sample image -m runs/quickstart --prompt "red circle" --out circle.png
            tf-sample image -m runs/quickstart --prompts prompts.txt --out pics --grid
            tf-sample image -m runs/quickstart --data data/emoji --out pics --cfg-scale 2

            A directory gets 000000.png … and prompts.jsonl. With --data it also gets
            sheet.png with the real picture beside each drawn one, and the share of
            pictures in the colour that their prompt names is printed.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var drawing: DrawingOptions

    @Option(name: .shortAndLong, help: "What to draw.")
    var prompt: String?

    @Option(help: "A file with one prompt a line.")
    var prompts: String?

    @Option(help: "A data set made by tf-data: draws all of its prompts, those held out of training included.")
    var data: String?

    @Option(help: "With --data, draw at most this many of the prompts trained on.")
    var limit: Int?

    @Option(name: [.customLong("out"), .customShort("o")], help: "A new .png file for one prompt, or a new directory.")
    var out: String

    @Flag(help: "Also write grid.png with all pictures.")
    var grid = false

    @Flag(help: "Print a report as JSON.")
    var json = false

    private var chosen: [ImageRequest.Prompts] {
        [prompt.map { .one($0) }, prompts.map { .file($0) }, data.map { .dataset($0, limit: limit) }].compactMap(\.self)
    }

    func validate() throws {
        guard chosen.count == 1 else { throw ValidationError("give one of --prompt, --prompts and --data") }
        if let limit, limit < 1 || data == nil {
            throw ValidationError("--limit is a number above 0 and goes with --data")
        }
    }

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var request = ImageRequest(model: model.request, prompts: chosen[0], output: out)
        request.settings = drawing.settings
        request.seed = model.seed
        request.makesGrid = grid
        let report = try request.run(warn: warn)
        print(try json ? JSONText.line(report) : report.summary)
    }
}

extension ImageRequest.Report {
    fileprivate var summary: String {
        var lines = [
            "drew \(pictures.count) \(pictures.count == 1 ? "picture" : "pictures") with \(model) into \(output) in "
                + String(
                    format: "%.1f s (%.1f ms a step, %.2f pictures a second)", seconds, 1000 * secondsPerStep,
                    imagesPerSecond)
        ]
        if let sheet { lines.append("sheet: \(sheet)") }
        if let trainedColours { lines.append("right colour, trained prompts: \(trainedColours.description)") }
        if let heldOutColours { lines.append("right colour, held-out prompts: \(heldOutColours.description)") }
        return lines.joined(separator: "\n")
    }
}
