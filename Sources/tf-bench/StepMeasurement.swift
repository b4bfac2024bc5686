import ArgumentParser
import Foundation
import TransfusionBenchmarks
import TransfusionConfig
import TransfusionCore
import TransfusionParallel

/// Measures training steps in turn with another program, and prints what it finds.
struct StepMeasurement: ParsableArguments {
    @Option(help: "Measured steps.")
    var steps = 5

    @Option(help: "A program to measure in turn with each step.")
    var against: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        if steps < 1 { throw ValidationError("--steps: must be positive") }
    }

    struct Output: Codable {
        let step: StepBenchmark.Result
        let against: StepComparison?
    }

    /// - Parameter make: Makes what is measured, given all ranks.
    func run(_ make: (any Communicator) throws -> StepBenchmark) throws {
        CPUReport.reexecuteIfSlowKernels()
        do {
            try MPIEnvironment.run { job in
                try run(benchmark: try make(job.world), speaks: job.world.rank == 0)
            } failed: { error, job in
                // The ranks cannot be arranged as asked: all of them know.
                let failure = (error as? MeshError).map { SharedFailure(failure: CommandFailure("\($0)", .wrongUse)) }
                let said = CommandFailure.say(failure ?? error, rank: job.world.rank, of: job.world.size)
                return .init(exitCode: said.failure.code.rawValue, isShared: said.isShared)
            }
        } catch {
            throw CommandFailure("\(error)", .wrongUse)
        }
    }

    private func run(benchmark: StepBenchmark, speaks: Bool) throws {
        var progress = ProgressLine("measuring steps", total: steps)
        var baselines: [StepComparison.Baseline] = [], started = 0
        let result = try benchmark.run(steps: steps, warmup: 1) {
            if speaks, let against {
                baselines.append(try runBaseline(against, printing: "tokens_per_s or images_per_s"))
            }
            if speaks { progress.update(started) }
            started += 1
        }
        progress.clear()
        guard speaks else { return }
        let comparison = StepComparison(result, baselines)
        json ? try printJSON(Output(step: result, against: comparison)) : printTable(result, comparison)
    }

    private func number(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
    private func mebibytes(_ bytes: Int) -> String { number(Double(bytes) / 1_048_576, 0) + " MiB" }

    private func printTable(_ result: StepBenchmark.Result, _ comparison: StepComparison?) {
        let images = result.imagesPerStep > 0
        print(
            "\(result.model), \(result.parameters) parameters, \(result.type), \(result.layout), threads \(result.threads)"
        )
        print(
            "step          \(number(result.secondsPerStep, 3)) s for \(result.tokensPerStep) tokens"
                + (images ? " and \(result.imagesPerStep) images" : "")
                + ": \(number(result.tokensPerSecond, 1)) tokens/s"
                + (images ? ", \(number(result.imagesPerSecond, 2)) images/s" : ""))
        print(
            "utilisation   \(number(result.utilization * 100, 1)) % of \(number(result.peakOperationsPerSecond / 1e9, 0)) "
                + "GFLOP/s, the rate of large products measured before each step" + busyMark(result.othersShare))
        let rest = result.secondsPerStep - result.productSeconds - result.attentionSeconds
        for (name, seconds) in [
            ("products", result.productSeconds), ("attention", result.attentionSeconds), ("all other", rest),
        ] {
            print(
                "  \(name.padding(toLength: 12, withPad: " ", startingAt: 0))\(number(seconds, 3)) s  "
                    + "\(number(100 * seconds / result.secondsPerStep, 1)) %")
        }
        print(
            "memory        weights \(mebibytes(result.weightBytes)), gradients \(mebibytes(result.gradientBytes)), "
                + "optimizer \(mebibytes(result.optimizerBytes)), activations \(mebibytes(result.activationBytes)); "
                + "peak resident \(mebibytes(result.peakResidentBytes))")
        if let comparison { printComparison(comparison, result) }
    }

    private func printComparison(_ comparison: StepComparison, _ result: StepBenchmark.Result) {
        let rate =
            comparison.tokensPerSecond.map { "\(number($0, 1)) tokens/s" }
            ?? comparison.imagesPerSecond.map { "\(number($0, 2)) images/s" } ?? ""
        print(
            "against       \(rate); ratio \(number(comparison.speedRatio, 2)) (median of \(comparison.runs))"
                + busyMark(result.othersShare))
        if let memoryRatio = comparison.memoryRatio {
            print("              memory ratio \(number(memoryRatio, 2))")
        }
    }
}
