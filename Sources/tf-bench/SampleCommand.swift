import ArgumentParser
import Foundation
import TransfusionBenchmarks
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import TransfusionTelemetry

struct SampleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sample",
        abstract: "Times writing text and denoising an image with random weights, beside what the machine can do.",
        discussion: """
            Text is written for one sequence, with its keys and values kept: it should
            read its weights as fast as memory gives them. An image is denoised with
            guidance, both branches in one pass: it should be as fast as matrix
            products. The program after --against is run before each round and prints
            a JSON object with the keys text_tokens_per_s and
            seconds_per_denoising_step as its last line.

            EXAMPLES
              tf-bench sample --model 0.16b
              tf-bench sample --precision f32 --json
              tf-bench sample --model 0.16b \\
                --against 'python Tests/Fixtures/baselines/sample.py --model 0.16b'
            """)

    @OptionGroup var measured: MeasuredModel

    @Option(help: "Patches of the image; a square number.")
    var patches = 256

    @Option(help: "Tokens of the prompt.")
    var prompt = 64

    @Option(help: "Tokens written in a round.")
    var tokens = 64

    @Option(help: "Denoising steps of a round.")
    var steps = 5

    @Option(help: "Measured rounds; medians count.")
    var rounds = 5

    @Option(help: "Threads; by default one for each processor that may be used.")
    var threads: Int?

    @Option(help: "A program to measure in turn with each round.")
    var against: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        let side = Int(Double(patches).squareRoot().rounded())
        let checks: [(Bool, String)] = [
            (
                (1...1 << 20).contains(patches) && side * side == patches,
                "--patches: must be a square number up to \(1 << 20), as in 256"
            ),
            ((1...1 << 16).contains(prompt), "--prompt: must lie between 1 and \(1 << 16)"),
            ((1...1 << 16).contains(tokens), "--tokens: must lie between 1 and \(1 << 16)"),
            ((1...999).contains(steps), "--steps: must lie between 1 and 999"),
            (rounds > 0, "--rounds: must be positive"),
            (threads.map { (1...1024).contains($0) } ?? true, "--threads: must lie between 1 and 1024"),
        ]
        if let (_, problem) = checks.first(where: { !$0.0 }) { throw ValidationError(problem) }
    }

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var settings = SampleBenchmark.Settings()
        settings.preset = measured.model
        settings.patchesPerImage = patches
        settings.prompt = prompt
        settings.tokens = tokens
        settings.steps = steps
        settings.type = measured.precision.type()
        settings.threads = threads
        var progress = ProgressLine("measuring rounds", total: rounds)
        var baselines: [SampleComparison.Baseline] = [], started = 0
        let processors = ProcessorUse.allowedProcessors, before = ProcessorUse(of: processors)
        let result = try SampleBenchmark(settings).run(rounds: rounds) {
            if let against { baselines.append(try runBaseline(against, printing: "text_tokens_per_s")) }
            progress.update(started)
            started += 1
        }
        progress.clear()
        let othersShare = (ProcessorUse(of: processors) - before).othersShare
        let comparison = SampleComparison(result, baselines)
        json
            ? try printJSON(Output(sample: result, othersShare: othersShare, against: comparison))
            : printTable(result, comparison, busyMark(othersShare))
    }

    private struct Output: Encodable {
        let sample: SampleBenchmark.Result
        /// The share of the processors that others took meanwhile.
        let othersShare: Double?
        let against: SampleComparison?
    }

    private func printTable(_ result: SampleBenchmark.Result, _ comparison: SampleComparison?, _ mark: String) {
        func number(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
        print("\(result.model), \(result.parameters) parameters, \(result.type), threads \(result.threads)")
        print(
            "text          \(number(result.textTokensPerSecond, 1)) tokens/s, each reads "
                + "\(number(Double(result.weightBytesPerToken) / 1e6, 1)) MB of weights: "
                + "\(number(result.textBandwidthShare * 100, 1)) % of \(number(result.readBytesPerSecond / 1e9, 1)) GB/s\(mark)"
        )
        print(
            "denoising     \(number(result.secondsPerDenoisingStep, 4)) s a step, "
                + "\(number(result.denoisingOperationsPerSecond / 1e9, 0)) GFLOP/s: "
                + "\(number(result.denoisingUtilization * 100, 1)) % of "
                + "\(number(result.peakOperationsPerSecond / 1e9, 0)) GFLOP/s\(mark)")
        if let comparison {
            print(
                "against       \(number(comparison.textTokensPerSecond, 1)) tokens/s, "
                    + "\(number(comparison.secondsPerDenoisingStep, 4)) s a step; ratios "
                    + "\(number(comparison.textRatio, 2)) and \(number(comparison.denoisingRatio, 2)) "
                    + "(medians of \(comparison.runs))\(mark)")
        }
    }
}
