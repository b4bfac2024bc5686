import ArgumentParser
import TransfusionCheckpoint
import TransfusionConfig

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows what is in a checkpoint, or in another form of a model.",
        discussion: """
            EXAMPLES
              tf-ckpt inspect runs/quickstart
              tf-ckpt inspect runs/quickstart/checkpoints/step-00002250 --tensors
              tf-ckpt inspect llama-dir
            """)

    @Argument(help: "A run, its checkpoints directory, one checkpoint, or a directory of weights.")
    var path: String

    @Flag(help: "List every tensor with its shape and size, and of a checkpoint its digest.")
    var tensors = false

    @Flag(help: "Print JSON, tensors included.")
    var json = false

    func run() throws {
        if let model = try ModelSummary(ofWeightsAt: path) { return try show(model) }
        try show(CheckpointSummary(try CheckpointLocation(path).newest()))
    }

    private func show(_ model: ModelSummary) throws {
        if json { return try printJSON(model) }
        printTable(
            [
                ["model", model.path], ["format", model.format],
                ["tensors", "\(model.tensors.count), \(bytes(model.tensors.reduce(0) { $0 + $1.bytes }))"],
                ["parameters", "\(model.parameters)"], ["images", model.images], ["drawn anew", model.drawn],
                ["not read", model.passedOver], ["tokenizer", model.tokenizer ?? "unknown"],
            ].filter { !$0[1].isEmpty }, left: 2)
        guard tensors else { return }
        print("")
        printTable(
            [["tensor", "type", "shape", "size"]]
                + model.tensors.map {
                    [$0.name, $0.type, $0.shape.map(String.init).joined(separator: "×"), bytes($0.bytes)]
                }, left: 2)
    }

    private func show(_ summary: CheckpointSummary) throws {
        if json { return try printJSON(summary) }
        let layout = summary.metadata.layout.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        let program = summary.program.map { "transfusion \($0)" } ?? "transfusion 0.2 or earlier"
        var rows: [[String]] = [
            ["checkpoint", summary.path],
            ["step", "\(summary.step)"],
            ["saved", age(summary.created)],
            ["saved by", program],
            ["format version", "\(summary.formatVersion)"],
            ["tensors", "\(summary.tensors.count), \(bytes(summary.tensorBytes))"],
            ["optimizer state", summary.hasOptimizerState ? "yes" : "no, weights only"],
            ["on disk", "\(bytes(summary.storedBytes)) in \(summary.files.count) shard files"],
            ["layout", layout.isEmpty ? "unknown" : layout.joined(separator: " × ")],
            ["tokenizer", summary.metadata.tokenizer ?? "unknown"],
            ["data set", summary.metadata.data ?? "unknown"],
        ]
        for (name, value) in summary.metadata.scalars.sorted(by: { $0.key < $1.key }) {
            let number = value.integer.map { "\($0)" } ?? value.number.map { "\($0)" }
            rows.append([name, number ?? value.string ?? "…"])
        }
        printTable(rows, left: 2)
        guard tensors else { return }
        print("")
        let tensorRows = summary.tensors.map { tensor -> [String] in
            let shape = tensor.shape.map(String.init).joined(separator: "×")
            return [
                tensor.name, tensor.type, shape, bytes(tensor.bytes), bytes(tensor.storedBytes), "\(tensor.boxes)",
                String(tensor.digest.prefix(16)),
            ]
        }
        printTable([["tensor", "type", "shape", "size", "stored", "boxes", "digest"]] + tensorRows, left: 2)
    }
}
