import ArgumentParser
import TransfusionCore
import TransfusionInference
import TransfusionSupport

struct CaptionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caption", abstract: "Says what pictures show.",
        discussion: """
            tf-sample caption --checkpoint runs/quickstart circle.png
            tf-sample caption --checkpoint runs/quickstart --json pictures/*.png

            The middle of each picture is brought to the model's size.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var writing: WritingOptions

    @Argument(help: "PNG, JPEG, WebP or GIF files.")
    var pictures: [String]

    @Flag(help: "Print the captions as JSON, one object a line.")
    var json = false

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var request = CaptionRequest(model: model.request, pictures: pictures)
        request.text = writing.settings
        request.seed = model.seed
        for caption in try request.run(warn: warn) {
            print(
                try json
                    ? JSONText.line(caption)
                    : pictures.count == 1 ? caption.caption : "\(caption.file): \(caption.caption)")
        }
    }
}
