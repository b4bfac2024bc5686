import ArgumentParser
import Foundation
import TransfusionBenchmarks
import TransfusionConfig
import TransfusionCore
import TransfusionTelemetry

struct KernelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels",
        abstract: "Times matrix products and attention alone, beside the machine's peaks.",
        discussion: """
            EXAMPLES
              tf-bench kernels --model 0.16b
              tf-bench kernels --precision f32 --json
            """)

    @OptionGroup var measured: MeasuredModel

    @Option(help: "Threads; as many as there are processors unless given.")
    var threads: Int?

    @Option(help: "How often each is timed; the median counts.")
    var repetitions = 9

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        let checks: [(Bool, String)] = [
            (threads.map { (1...1024).contains($0) } ?? true, "--threads: must lie between 1 and 1024"),
            (repetitions > 0, "--repetitions: must be positive"),
        ]
        if let (_, problem) = checks.first(where: { !$0.0 }) { throw ValidationError(problem) }
    }

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        let processors = ProcessorUse.allowedProcessors, before = ProcessorUse(of: processors)
        let report = KernelBenchmark(
            preset: measured.model, type: measured.precision.type(), threads: threads, repetitions: repetitions
        ).run()
        warnIfBusy((ProcessorUse(of: processors) - before).othersShare)
        if json { return try printJSON(report) }
        print(
            String(
                format: "%d threads; products at %.0f GFLOP/s in f32 and %.0f in bf16; memory copied at %.1f GB/s",
                report.threads, report.peakF32, report.peakBF16, report.copyBandwidth))
        for rate in report.rates {
            print(
                rate.kernel.padding(toLength: 46, withPad: " ", startingAt: 0)
                    + String(
                        format: "%9.2f ms %8.0f %@ %6.1f %%", rate.milliseconds, rate.rate, rate.unit,
                        100 * rate.shareOfPeak))
        }
    }
}
