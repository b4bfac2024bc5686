import ArgumentParser
import TransfusionCheckpoint
import TransfusionConfig

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists checkpoints, oldest first.",
        discussion: """
            A checkpoint is listed as damaged when its manifest does not hold; 'tf-ckpt
            verify' reads its shards too. Those that were put aside when a run went back
            to an older one come first.

            EXAMPLE
              tf-ckpt list runs/quickstart --json
            """)

    @Argument(help: "A run, its checkpoints directory, or one checkpoint.")
    var path: String

    @Flag(help: "Print JSON.")
    var json = false

    private struct Entry: Encodable {
        var path: String
        /// The number of the branch with which it was put aside.
        var aside: Int?
        var step: Int?
        var created: Int?
        var storedBytes: Int?
        var problem: String?

        init(_ path: String, aside: Int? = nil) {
            self.path = path
            self.aside = aside
            do {
                let checkpoint = try Checkpoint(path)
                step = checkpoint.step
                created = checkpoint.created
                storedBytes = checkpoint.storedBytes
            } catch {
                problem = "\(error)"
            }
        }
    }

    func run() throws {
        let location = try CheckpointLocation(path)
        let aside = location.single == nil ? try location.store.aside() : []
        let entries =
            try aside.map { Entry($0.path, aside: $0.branch) }
            + location.examine { path in
                let entry = Entry(path)
                return entry.problem != nil && location.isGone(path) ? nil : entry
            }
        if json { return try printJSON(entries) }
        let rows = entries.map { entry in
            [
                entry.path, entry.storedBytes.map(bytes) ?? "damaged", entry.created.map(age) ?? "",
                entry.aside == nil ? "" : "put aside",
            ]
        }
        printTable([["checkpoint", "size", "saved", ""]] + rows)
    }
}
