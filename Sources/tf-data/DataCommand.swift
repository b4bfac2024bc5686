import ArgumentParser

@main
struct DataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tf-data",
        abstract: "Makes, looks at and checks the data sets that transfusion trains on.",
        discussion: """
            EXAMPLES
              tf-data emoji --out data/shapes
              tf-data emoji --subset all --size 64 --out data/emoji
              tf-data inspect data/shapes
              tf-data verify data/shapes
            """,
        subcommands: [Emoji.self, Tokenizer.self, Inspect.self, Verify.self])
}
