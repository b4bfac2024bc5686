import ArgumentParser
import Foundation
import TransfusionBenchmarks
import TransfusionConfig
import TransfusionCore
import TransfusionModels

struct CheckpointCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Times saving and loading beside plain copies, writes and reads of the same bytes.",
        discussion: """
            Plain writing and reading are what dd does with bs=1M, conv=fsync for
            writing, and nothing cached for reading. The program after --against is
            run before each repetition and prints a JSON object as its last line,
            with the bytes and seconds of each way:
            {"ways": {"torch.save": {"bytes": …, "write_s": …, "read_s": …}, …}}

            EXAMPLES
              tf-bench checkpoint --model 0.16b --directory /data
              tf-bench checkpoint --json \\
                --against 'python Tests/Fixtures/checkpoint_baseline.py --directory .'
            """)

    @Option(help: "A model size: \(ModelPreset.allCases.map(\.rawValue).joined(separator: ", ")).")
    var model = ModelPreset.size0_16B

    @Option(help: "Tokens of the model.")
    var vocabulary = 32002

    @Option(help: "A directory on the disk to be measured, with room for 36 bytes a parameter; left as it was.")
    var directory = "."

    @Option(help: "How often each is measured; the median counts.")
    var repetitions = 3

    @Option(help: "A program to measure in turn.")
    var against: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard repetitions > 0 else { throw ValidationError("--repetitions: must be positive") }
        guard (3...1 << 20).contains(vocabulary) else {
            throw ValidationError("--vocabulary: must lie between 3 and \(1 << 20)")
        }
    }

    func run() throws {
        let sizes = model.sizes, last = Int32(vocabulary) - 1
        let configuration = ModelConfiguration(
            layers: sizes.layers, width: sizes.width, heads: sizes.heads, feedForward: sizes.feedForward,
            vocabulary: vocabulary, patchSize: 2, imageChannels: 8, imageHeight: 32, imageWidth: 32, beginOfText: 0,
            endOfText: 0, beginOfImage: last - 1, endOfImage: last)
        let benchmark = CheckpointBenchmark(
            directory: directory + "/tf-bench-checkpoint-\(getpid())", model: configuration, repetitions: repetitions)
        var progress: ProgressLine?
        var baselines: [CheckpointComparison] = []
        let measurement = try benchmark.run {
            if let against { baselines.append(try runBaseline(against, printing: "ways")) }
        } progress: { _, done, total in
            progress = progress ?? ProgressLine("measuring checkpoints", total: total)
            progress?.update(done)
        }
        progress?.clear()
        let others = CheckpointComparison.medians(baselines)
        if json {
            try printJSON(Output(measurement, others))
        } else {
            printTable(measurement, others)
        }
    }

    private func printTable(_ result: CheckpointBenchmark.Measurement, _ others: [String: CheckpointComparison.Way]) {
        let bytes = Double(result.tensorBytes)
        func line(_ name: String, _ seconds: Double, _ rest: String = "") {
            print(
                name.padding(toLength: 22, withPad: " ", startingAt: 0)
                    + String(format: "%8.3f s %8.1f MB/s  ", seconds, bytes / seconds / 1e6) + rest)
        }
        func ratio(_ value: Double) -> String { String(format: "%.2f", value) }
        print("\(model.rawValue) with optimizer state: \(result.tensorBytes) bytes; median of \(repetitions)")
        line("copy", result.copySeconds)
        line("asynchronous stall", result.stallSeconds, "\(ratio(result.stallCopies)) copies")
        line("asynchronous write", result.asynchronousSeconds)
        line("write", result.writeSeconds, "\(ratio(result.writeShare)) of the rate of plain writing")
        line("plain write", result.plainWriteSeconds)
        line("load", result.readSeconds, "\(ratio(result.readShare)) of the rate of plain reading")
        line("plain read", result.plainReadSeconds)
        let share = Double(result.compressedBytes) / bytes
        line("compressed write", result.compressedSeconds, "\(result.compressedBytes) bytes, \(ratio(share)) of all")
        line("compressed load", result.compressedReadSeconds)
        for (name, way) in others.sorted(by: { $0.key < $1.key }) {
            func compare(_ verb: String, _ theirs: Double, _ ours: Double) {
                let rate = Double(way.bytes) / theirs
                print(
                    "\(name) \(verb)".padding(toLength: 22, withPad: " ", startingAt: 0)
                        + String(format: "%8.3f s %8.1f MB/s  ", theirs, rate / 1e6)
                        + "ours is \(ratio(bytes / ours / rate)) times as fast")
            }
            compare("write", way.writeSeconds, result.writeSeconds)
            compare("load", way.readSeconds, result.readSeconds)
        }
    }

    private struct Output: Encodable {
        let checkpoint: CheckpointBenchmark.Measurement
        let stallCopies: Double
        let writeShare: Double
        let readShare: Double
        let against: [String: CheckpointComparison.Way]

        init(_ measurement: CheckpointBenchmark.Measurement, _ others: [String: CheckpointComparison.Way]) {
            checkpoint = measurement
            stallCopies = measurement.stallCopies
            writeShare = measurement.writeShare
            readShare = measurement.readShare
            against = others
        }
    }
}
