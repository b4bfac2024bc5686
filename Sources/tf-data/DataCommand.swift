import ArgumentParser
import TransfusionConfig
import TransfusionSupport

@main
struct DataCommand: TransfusionCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-data",
        abstract: "Makes, looks at and checks the data sets that transfusion trains on.",
        discussion: """
            EXAMPLES
              tf-data emoji --out data/shapes
              tf-data emoji --subset all --size 64 --out data/emoji
              tf-data scenes --out data/scenes
              tf-data gallery --out data/gallery
              tf-data import --folder pictures --jsonl corpus.jsonl --out data/mine
              tf-data encode data/mine --autoencoder vae --out data/latents
              tf-data inspect data/shapes
              tf-data verify data/shapes
            """,
        version: ProductVersion.number,
        subcommands: [
            Emoji.self, Scenes.self, Gallery.self, Import.self, Encode.self, Tokenizer.self, Inspect.self, Verify.self,
        ])
}
