import ArgumentParser
import Foundation
import TransfusionBenchmarks
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import TransfusionTelemetry

struct RatesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rates",
        abstract: "Measures what 'tf-coord plan' works with: passes, updates, sums in shared memory, the disk.",
        discussion: """
            Run it on a node of the cluster; the plan can be made anywhere.

            EXAMPLE
              tf-bench rates --json > rates.json
              tf-coord plan configs/train/paper-7b-2t.yaml --rates rates.json \\
                --hosts 1000 --cores 64 --memory 256
            """)

    @Option(help: "auto (bf16 where the processor multiplies it), f32 or bf16.")
    var precision = RunConfiguration.Precision.automatic

    @Option(help: "Threads; as many as there are processors unless given.")
    var threads: Int?

    @Option(help: "Where the disk is measured: 256 MiB are written there and removed.")
    var directory = "."

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads: must lie between 1 and 1024")
        }
    }

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        var settings = RatesBenchmark.Settings(directory: directory)
        settings.type = precision.type()
        settings.threads = threads
        var progress = ProgressLine("measuring", total: 0)
        var done = 0
        let processors = ProcessorUse.allowedProcessors, before = ProcessorUse(of: processors)
        let rates = try RatesBenchmark.run(settings) {
            done += 1
            progress.update(done, $0)
        }
        progress.clear()
        warnIfBusy((ProcessorUse(of: processors) - before).othersShare)
        json ? try printJSON(rates) : printTable(rates)
    }

    private func printTable(_ rates: MachineRates) {
        func number(_ value: Double, _ digits: Int = 1) -> String { String(format: "%.\(digits)f", value) }
        print("\(rates.processor); \(rates.threads) threads, \(rates.type.rawValue)")
        print("products      \(number(rates.matrixRate / 1e9, 0)) GFLOP/s")
        for width in [256, 1024, 4096] {
            let rate = 1 / rates.seconds(operations: 1, width: width, threads: rates.threads)
            print(
                "passes        \(number(rate / 1e9, 0)) GFLOP/s of a model of width \(width) "
                    + "(\(number(rate / rates.matrixRate * 100)) %)")
        }
        print("updates       \(number(rates.updatesPerSecond / 1e6, 0)) million parameters/s")
        print("shared sums   \(number(rates.sharedSumBytesPerSecond / 1e9)) GB/s between two ranks")
        print("disk          \(number(rates.diskBytesPerSecond / 1e6, 0)) MB/s")
        print("program       \(rates.programBytes / 1_000_000) MB")
        let check = rates.check
        print(
            "check         \(check.model): a pass takes \(number(check.seconds * 1e3)) ms, estimated "
                + "\(number(check.plannedSeconds * 1e3)) ms (\(String(format: "%+.1f", check.secondsError * 100)) %); "
                + "activations \(number(Double(check.activationBytes) / 1e6)) MB, estimated "
                + "\(number(Double(check.plannedActivationBytes) / 1e6)) MB "
                + "(\(String(format: "%+.1f", check.activationError * 100)) %)")
    }
}
