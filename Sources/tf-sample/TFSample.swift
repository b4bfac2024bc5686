import ArgumentParser
import TransfusionConfig
import TransfusionSupport

@main
struct TFSample: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-sample",
        abstract: "Draws, changes and describes pictures, and writes text, with a trained model.",
        discussion: """
            A picture:
              tf-sample image -m runs/quickstart --prompt "red circle" --out circle.png
            Many pictures:
              tf-sample image -m runs/quickstart --prompts prompts.txt --out pictures
            A whole data set:
              tf-sample image -m runs/quickstart --data data/emoji --out pictures
            Text:
              tf-sample text -m runs/quickstart --prompt "a plant that"
            A picture that is changed:
              tf-sample edit -m runs/edits --image a.png -p "make it blue" --out b.png
            A description:
              tf-sample caption -m runs/quickstart circle.png
            What an autoencoder keeps of a picture:
              tf-sample reconstruct -a runs/vae --out back circle.png
            """,
        version: ProductVersion.number,
        subcommands: [
            ImageCommand.self, EditCommand.self, TextCommand.self, CaptionCommand.self, ReconstructCommand.self,
        ])
}
