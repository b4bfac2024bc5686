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
              tf-data import --folder pictures --jsonl corpus.jsonl --out data/mine
              tf-data inspect data/shapes
              tf-data verify data/shapes
            """,
        version: ProductVersion.number,
        subcommands: [Emoji.self, Import.self, Tokenizer.self, Inspect.self, Verify.self])
}
