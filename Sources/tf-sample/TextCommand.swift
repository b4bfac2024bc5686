import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCore
import TransfusionInference
import TransfusionSupport

struct TextCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "text", abstract: "Continues text, and draws pictures where the model puts them.",
        discussion: """
            tf-sample text -m runs/quickstart --prompt "a plant that"
            tf-sample text -m runs/quickstart --prompts begins.txt --temperature 0.8
            tf-sample text -m runs/quickstart --prompt "Q: why?" --stop "Q:"
            tf-sample text -m runs/quickstart --prompt "red circle" --images 2 --out story
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var writing: WritingOptions
    @OptionGroup(title: "Pictures in the text") var drawing: DrawingOptions

    @Option(name: .shortAndLong, help: "How the text begins; may be empty.")
    var prompt: String?

    @Option(help: "A file with one prompt a line.")
    var prompts: String?

    @Option(help: "How many pictures each text may get.")
    var images = 0

    @Flag(help: "Begin with a picture.")
    var imageFirst = false

    @Option(name: [.customLong("out"), .customShort("o")], help: "A new directory for the pictures.")
    var out: String?

    @Flag(help: "Print the texts as JSON, one object a line.")
    var json = false

    private var chosen: [TextRequest.Prompts] {
        [prompt.map { .one($0) }, prompts.map { .file($0) }].compactMap(\.self)
    }

    func validate() throws {
        guard chosen.count == 1 else { throw ValidationError("give one of --prompt and --prompts") }
    }

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var request = TextRequest(model: model.request, prompts: chosen[0])
        request.text = writing.settings
        request.image = drawing.settings
        request.maximumImages = images
        request.beginsWithImage = imageFirst
        request.seed = model.seed
        request.output = out
        guard !json else {
            for text in try request.run(warn: warn) { print(try JSONText.line(text)) }
            return
        }
        let streams = images == 0 && isatty(STDOUT_FILENO) == 1
        let show: (String) -> Void = { StandardStream.output.write($0) }
        var told = ""
        let texts = try request.run(warn: warn, stream: streams ? show : nil) { told = $0.description }
        if !streams { for text in texts { print(text.readable) } }
        StandardStream.error.write(told + "\n")
    }
}
