import ArgumentParser
import TransfusionCheckpoint

struct Reshard: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes a checkpoint again in another layout or compression.",
        discussion: """
            Every layout loads into every layout, so training never needs this; it makes
            files that suit the storage. The result is
            DESTINATION/checkpoints/step-NNNNNNNN, and the tokenizer travels along.

            EXAMPLES
              tf-ckpt reshard runs/a runs/b --data 3 --tensor 2
              tf-ckpt reshard runs/a packed --compression 9
            """)

    @Argument(help: "A run, its checkpoints directory, or one checkpoint.")
    var source: String

    @Argument(help: "A run directory for the result.")
    var destination: String

    @Option(help: "The number of data-parallel ranks.")
    var data = 1

    @Option(help: "The number of tensor-parallel ranks.")
    var tensor = 1

    @Option(help: "The zstd level, 1 to 19, or 'none'.")
    var compression = Compression.none

    func validate() throws {
        guard data > 0, tensor > 0, data <= 4096, tensor <= 4096 else {
            throw ValidationError("--data and --tensor must lie between 1 and 4096")
        }
    }

    func run() throws {
        let checkpoint = try CheckpointLocation(source).newest()
        let store = CheckpointStore(
            destination + "/checkpoints", options: CheckpointOptions(compressionLevel: compression.level))
        let saved = try checkpoint.reshard(into: store, data: data, tensor: tensor)
        try checkpoint.copyTokenizer(to: destination)
        print("\(saved.path): \(bytes(saved.tensorBytes)) of tensors in \(bytes(saved.storedBytes))")
    }
}

/// A zstd level or none.
enum Compression: ExpressibleByArgument {
    case none
    case zstd(Int)

    init?(argument: String) {
        if argument == "none" {
            self = .none
        } else if let level = Int(argument), (1...19).contains(level) {
            self = .zstd(level)
        } else {
            return nil
        }
    }

    var level: Int? {
        if case .zstd(let level) = self { level } else { nil }
    }

    var defaultValueDescription: String { level.map { "\($0)" } ?? "none" }
}
