import ArgumentParser
import TransfusionCheckpoint
import TransfusionConfig

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Reads every byte of checkpoints and compares it with their digests.",
        discussion: """
            Of a run, all checkpoints are verified. The exit code is 0 only if all are
            good.

            EXAMPLE
              tf-ckpt verify runs/quickstart
            """)

    @Argument(help: "A run, its checkpoints directory, or one checkpoint.")
    var path: String

    @Flag(help: "Print JSON.")
    var json = false

    private struct Entry: Encodable {
        var path: String
        var isGood: Bool { problems.isEmpty }
        var problems: [String]

        enum CodingKeys: String, CodingKey {
            case path, good, problems
        }

        func encode(to encoder: any Encoder) throws {
            var values = encoder.container(keyedBy: CodingKeys.self)
            try values.encode(path, forKey: .path)
            try values.encode(isGood, forKey: .good)
            try values.encode(problems, forKey: .problems)
        }
    }

    func run() throws {
        let location = try CheckpointLocation(path)
        let entries = try location.examine { path in
            let entry = verify(path, location)
            return !entry.isGood && location.isGone(path) ? nil : entry
        }
        if entries.isEmpty { throw CommandFailure("\(path): holds no checkpoint to verify") }
        if json {
            try printJSON(entries)
        } else {
            for entry in entries where entry.isGood { print("\(entry.path): good") }
        }
        let problems = entries.flatMap(\.problems)
        guard problems.isEmpty else { throw CommandFailure(problems, .failure) }
    }

    private func verify(_ path: String, _ location: CheckpointLocation) -> Entry {
        do {
            let checkpoint = try location.open(path)
            var line = ProgressLine("verifying step \(checkpoint.step)", total: 0)
            defer { line.clear() }
            var started = false
            let problems = checkpoint.problems { done, total in
                if !started {
                    line = ProgressLine("verifying step \(checkpoint.step)", total: total)
                    started = true
                }
                line.update(done)
            }
            return Entry(path: path, problems: problems.map(\.description))
        } catch {
            return Entry(path: path, problems: ["\(error)"])
        }
    }
}
