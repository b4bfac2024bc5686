public import ArgumentParser
import Foundation
import TransfusionConfig
public import TransfusionCore
import TransfusionTraining

struct StepCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "step",
        abstract: "Times training steps on made-up data: tokens/s, utilisation, memory by class.",
        discussion: """
            tf-bench step --model 0.16b --sequence 1024 --images 2 --patches 256 --micro-batches 4
            tf-bench step --precision f32 --json
            tf-bench step --against 'python baseline.py --dtype bf16 --compile --accumulate 4'

            The program after --against is run before each measured step and prints a JSON object with the key
            tokens_per_s (and peak_rss_mib, if it likes) as its last line.
            """)

    @Option(help: "A model size: \(ModelPreset.allCases.map(\.rawValue).joined(separator: ", ")).")
    var model = ModelPreset.size0_16B

    @Option(help: "Tokens of a sequence, patches included.")
    var sequence = 1024

    @Option(help: "Images in the sequence.")
    var images = 2

    @Option(help: "Patches of an image; a square number.")
    var patches = 256

    @Option(help: "Sequences of a step, one after the other.")
    var microBatches = 4

    @Option(help: "bf16 or f32.")
    var precision = ElementType.bf16

    @Option(help: "Threads; as many as there are processors unless given.")
    var threads: Int?

    @Option(help: "none or full.")
    var recompute = TransfusionModel.Recomputation.none

    @Option(help: "Measured steps.")
    var steps = 5

    @Option(help: "A program to measure in turn with each step.")
    var against: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        let side = Int(Double(patches).squareRoot().rounded())
        let checks: [(Bool, String)] = [
            (sequence > 0, "--sequence: must be positive"), (images >= 0, "--images: cannot be negative"),
            (patches > 0 && side * side == patches, "--patches: must be a square number, as in 256"),
            (
                images * patches <= sequence,
                "--images: \(images) × \(patches) patches do not fit into \(sequence) tokens"
            ),
            (microBatches > 0, "--micro-batches: must be positive"), (steps > 0, "--steps: must be positive"),
            (threads.map { $0 > 0 } ?? true, "--threads: must be positive"),
            (precision == .bf16 || precision == .f32, "--precision: bf16 or f32"),
        ]
        if let (_, problem) = checks.first(where: { !$0.0 }) { throw ValidationError(problem) }
    }

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var settings = StepBenchmark.Settings()
        settings.preset = model
        settings.sequenceLength = sequence
        settings.images = images
        settings.patchesPerImage = patches
        settings.microBatches = microBatches
        settings.type = precision
        settings.threads = threads
        settings.recomputation = recompute
        let benchmark = try StepBenchmark(settings)
        var progress = ProgressLine("measuring steps", total: steps + 1)
        var baseline: [BaselineResult] = []
        let result = try benchmark.run(steps: steps, warmup: 1) {
            if let against { baseline.append(try BaselineResult(running: against)) }
            progress.update(baseline.count)
        }
        progress.clear()
        let comparison = baseline.isEmpty ? nil : Comparison(result, baseline)
        if json {
            try printJSON(Output(step: result, against: comparison))
        } else {
            printTable(result, comparison)
        }
    }

    private struct Output: Encodable {
        let step: StepBenchmark.Result
        let against: Comparison?
    }

    private func printTable(_ result: StepBenchmark.Result, _ comparison: Comparison?) {
        func number(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
        func mebibytes(_ bytes: Int) -> String { number(Double(bytes) / 1_048_576, 0) + " MiB" }
        print("\(result.model), \(result.parameters) parameters, \(result.type), \(result.threads) threads")
        print(
            "step          \(number(result.secondsPerStep, 3)) s for \(result.tokensPerStep) tokens: "
                + "\(number(result.tokensPerSecond, 1)) tokens/s")
        print(
            "utilisation   \(number(result.utilization * 100, 1)) % of \(number(result.peakOperationsPerSecond / 1e9, 0)) "
                + "GFLOP/s, the measured rate of large products")
        for (name, seconds) in result.parts.sorted(by: { $0.value > $1.value }) where seconds > 0.001 {
            print("  \(name.padding(toLength: 14, withPad: " ", startingAt: 0))\(number(seconds, 3)) s")
        }
        print(
            "memory        weights \(mebibytes(result.weightBytes)), gradients \(mebibytes(result.gradientBytes)), "
                + "optimizer \(mebibytes(result.optimizerBytes)), activations \(mebibytes(result.activationBytes)); "
                + "peak resident \(mebibytes(result.peakResidentBytes))")
        if let comparison {
            print(
                "against       \(number(comparison.tokensPerSecond, 1)) tokens/s; "
                    + "ratio \(number(comparison.speedRatio, 2)) (median of \(comparison.runs))")
            if let memoryRatio = comparison.memoryRatio {
                print("              memory ratio \(number(memoryRatio, 2))")
            }
        }
    }
}

/// What a program that is measured in turn says of itself.
private struct BaselineResult: Decodable {
    let tokensPerSecond: Double
    let peakMebibytes: Double?

    private enum CodingKeys: String, CodingKey {
        case tokensPerSecond = "tokens_per_s"
        case peakMebibytes = "peak_rss_mib"
    }

    init(running command: String) throws {
        let process = Process(), output = Pipe()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", command]
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0, let line = text.split(separator: "\n").last,
            let result = try? JSONDecoder().decode(BaselineResult.self, from: Data(line.utf8))
        else {
            throw CommandFailure(
                "--against: '\(command)' ended with \(process.terminationStatus) and no JSON line with tokens_per_s",
                .wrongUse)
        }
        self = result
    }
}

/// Ours beside the other program: above 1 is faster, below 1 less memory.
private struct Comparison: Encodable {
    let tokensPerSecond: Double
    let runs: Int
    let speedRatio: Double
    let memoryRatio: Double?

    init(_ result: StepBenchmark.Result, _ baseline: [BaselineResult]) {
        let median = { (values: [Double]) in values.sorted()[values.count / 2] }
        tokensPerSecond = median(baseline.map(\.tokensPerSecond))
        runs = baseline.count
        speedRatio = result.tokensPerSecond / tokensPerSecond
        let memory = baseline.compactMap(\.peakMebibytes)
        memoryRatio = memory.isEmpty ? nil : Double(result.peakResidentBytes) / 1_048_576 / median(memory)
    }
}

extension ModelPreset: ExpressibleByArgument {}
extension ElementType: ExpressibleByArgument {}
extension TransfusionModel.Recomputation: ExpressibleByArgument {}

func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
