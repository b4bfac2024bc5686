import ArgumentParser
import TransfusionConfig

@main
struct TFSample: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-sample",
        abstract: "Draws pictures, writes text and describes pictures with a trained model.",
        discussion: """
            A picture:        tf-sample image --checkpoint runs/quickstart --prompt "red circle" --out circle.png
            Many pictures:    tf-sample image --checkpoint runs/quickstart --prompts prompts.txt --out pictures --grid
            A whole data set: tf-sample image --checkpoint runs/quickstart --data data/emoji --out pictures
            Text:             tf-sample text --checkpoint runs/quickstart --prompt "a plant that"
            A description:    tf-sample caption --checkpoint runs/quickstart circle.png
            """,
        subcommands: [ImageCommand.self, TextCommand.self, CaptionCommand.self])
}
