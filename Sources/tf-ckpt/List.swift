import ArgumentParser
import TransfusionCheckpoint

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists checkpoints, oldest first.",
        discussion: """
            A checkpoint is listed as damaged when its manifest does not hold; 'tf-ckpt
            verify' reads its shards too.

            EXAMPLE
              tf-ckpt list runs/quickstart --json
            """)

    @Argument(help: "A run, its checkpoints directory, or one checkpoint.")
    var path: String

    @Flag(help: "Print JSON.")
    var json = false

    private struct Entry: Encodable {
        var path: String
        var step: Int?
        var created: Int?
        var storedBytes: Int?
        var problem: String?
    }

    func run() throws {
        let entries = try CheckpointLocation(path).paths().map { path in
            do {
                let checkpoint = try Checkpoint(path)
                return Entry(
                    path: path, step: checkpoint.step, created: checkpoint.created,
                    storedBytes: checkpoint.storedBytes)
            } catch {
                return Entry(path: path, problem: "\(error)")
            }
        }
        if json { return try printJSON(entries) }
        let rows = entries.map { entry in
            [
                entry.path, entry.storedBytes.map(bytes) ?? "damaged", entry.created.map(age) ?? "",
            ]
        }
        printTable([["checkpoint", "size", "saved"]] + rows)
    }
}
