import ArgumentParser
import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCoordinator

struct SubmitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "submit", abstract: "Hands a run to the daemon, which starts it when slots are free.",
        discussion: """
            Paths in the configuration are relative to the working directory of this
            command.

            EXAMPLES
              tf-coord submit configs/train/quickstart.yaml --ranks 2
              tf-coord submit my.yaml --set seed=1 --set name=my-1
            """)

    @Argument(help: "The configuration of the run, a YAML file.")
    var config: String

    @Option(help: "Ranks; as many as the daemon has slots by default.")
    var ranks: Int?

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set batch.micro_sequences=2.")
    var overrides: [String] = []

    @OptionGroup var place: RunRoot

    func validate() throws {
        if let ranks, ranks < 1 { throw ValidationError("--ranks: \(ranks) is not a number of ranks; use 1 or more") }
    }

    func run() throws {
        let configuration = try RunConfiguration.loadWithInitialWeights(config, overrides: overrides)
        try configuration.requireDataset()
        let submission = RunSubmission(
            configuration: configuration.resolved, workingDirectory: FileManager.default.currentDirectoryPath,
            ranks: ranks)
        let client = CoordinatorClient(try place.daemon)
        let run = try waitFor { try await client.submit(submission) }
        print("\(run.run)  \(run.state.rawValue)  \(run.directory)")
    }
}
