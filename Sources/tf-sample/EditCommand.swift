import ArgumentParser
import Foundation
import TransfusionCore
import TransfusionInference
import TransfusionSupport

struct EditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edit", abstract: "Changes pictures as instructions say.",
        discussion: """
            tf-sample edit -m runs/edits --image a.png -p "make it blue" --out b.png
            tf-sample edit -m runs/edits --edits list.jsonl --out changed
            tf-sample edit -m runs/edits --data data/edits --out changed

            A list has lines {"source": "a.png", "instruction": "make it blue"}, paths
            relative to it. A directory gets 000000.png …, what they were made of in
            sources, what should come of them in targets where that is known (the
            "target" of a line, or a data set), prompts.jsonl for 'tf-eval edit', and
            sheet.png with all of these side by side.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var drawing: DrawingOptions

    @Option(help: "A PNG, JPEG or WebP file to change.")
    var image: String?

    @Option(name: .shortAndLong, help: "What to do with it.")
    var prompt: String?

    @Option(help: "A JSONL file of pictures and instructions.")
    var edits: String?

    @Option(help: "A data set with edits made by tf-data.")
    var data: String?

    @Option(help: "With --data, the split whose edits are drawn (default: held_out).")
    var split: String?

    @Option(help: "With --data, draw at most this many.")
    var limit: Int?

    // A number below 0 looks like an option.
    @Option(parsing: .unconditional, help: "Strength of guidance by the picture; 1 is none.")
    var imageGuidance = ImageSettings().originalGuidanceScale

    @Option(
        name: [.customLong("out"), .customShort("o")], help: "A new .png file for one picture, or a new directory.")
    var out: String

    @Flag(help: "Print a report as JSON.")
    var json = false

    private var chosen: [EditRequest.Edits] {
        var chosen: [EditRequest.Edits] = []
        if let image, let prompt { chosen.append(.one(image: image, instruction: prompt)) }
        if let edits { chosen.append(.file(edits)) }
        if let data { chosen.append(.dataset(data, split: split ?? "held_out", limit: limit)) }
        return chosen
    }

    func validate() throws {
        guard (image == nil) == (prompt == nil) else { throw ValidationError("--image and --prompt go together") }
        guard chosen.count == 1 else { throw ValidationError("give --image with --prompt, or --edits, or --data") }
        if data == nil, split != nil || limit != nil { throw ValidationError("--split and --limit go with --data") }
        if let limit, limit < 1 { throw ValidationError("--limit must be above 0, not \(limit)") }
    }

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var request = EditRequest(model: model.request, edits: chosen[0], output: out)
        request.settings = drawing.settings
        request.settings.originalGuidanceScale = imageGuidance
        request.seed = model.seed
        let report = try request.run(warn: warn)
        if json { return print(try JSONText.line(report)) }
        let count = report.pictures.count
        print(
            "changed \(count) \(count == 1 ? "picture" : "pictures") with \(report.model) into \(report.output) in "
                + String(format: "%.1f s", report.seconds))
        if let sheet = report.sheet { print("sheet: \(sheet)") }
    }
}
