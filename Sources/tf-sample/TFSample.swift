import ArgumentParser
import TransfusionConfig
import TransfusionSupport

@main
struct TFSample: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-sample",
        abstract: "Draws pictures, writes text and describes pictures with a trained model.",
        discussion: """
            A picture:
              tf-sample image -m runs/quickstart --prompt "red circle" --out circle.png
            Many pictures:
              tf-sample image -m runs/quickstart --prompts prompts.txt --out pictures
            A whole data set:
              tf-sample image -m runs/quickstart --data data/emoji --out pictures
            Text:
              tf-sample text -m runs/quickstart --prompt "a plant that"
            A description:
              tf-sample caption -m runs/quickstart circle.png
            What an autoencoder keeps of a picture:
              tf-sample reconstruct -a runs/vae --out back circle.png
            """,
        version: ProductVersion.number,
        subcommands: [ImageCommand.self, TextCommand.self, CaptionCommand.self, ReconstructCommand.self])
}
