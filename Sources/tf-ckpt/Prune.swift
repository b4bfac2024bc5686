import ArgumentParser
import TransfusionCheckpoint
import TransfusionConfig

struct Prune: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Deletes old checkpoints.",
        discussion: """
            The newest good checkpoint always stays; damaged ones are left alone.

            EXAMPLE
              tf-ckpt prune runs/quickstart --keep-last 2 --keep-every 1000 --dry-run
            """)

    @Argument(help: "A run or its checkpoints directory.")
    var path: String

    @Option(help: "How many of the newest stay.")
    var keepLast: Int

    @Option(help: "Checkpoints of steps divisible by this stay, too.")
    var keepEvery: Int?

    @Flag(help: "Only say what would be deleted.")
    var dryRun = false

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard keepLast > 0, keepEvery ?? 1 > 0 else {
            throw ValidationError("--keep-last and --keep-every must be positive")
        }
    }

    private struct Report: Encodable {
        var removed: [Int]
        var dryRun: Bool
    }

    func run() throws {
        let location = try CheckpointLocation(path)
        guard location.single == nil else {
            throw ValidationError("\(path) is one checkpoint; give the run, or delete the directory")
        }
        let retention = Retention(last: keepLast, every: keepEvery)
        let steps =
            try dryRun ? location.store.outdatedSteps(retention) : location.store.removeOutdated(retention)
        if !dryRun { location.store.emptyTrash() }
        if json { return try printJSON(Report(removed: steps, dryRun: dryRun)) }
        for step in steps { print("\(dryRun ? "would delete" : "deleted") step \(step)") }
        if steps.isEmpty { print("nothing to delete") }
    }
}
