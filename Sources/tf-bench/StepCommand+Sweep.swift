import Foundation
import TransfusionBenchmarks
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import TransfusionParallel

extension StepCommand {
    /// Measures each step of a sweep as a job of its own, and shows them in one table.
    func run(_ sweep: StepSweep) throws {
        var progress = ProgressLine("measuring", total: sweep.points.count)
        let rows = try sweep.run {
            progress.update($0, $1)
        } measure: {
            try measure($0)
        }
        progress.clear()
        if measurement.json { return try printJSON(rows) }
        printTable(rows)
    }

    private func measure(_ point: StepSweep.Point) throws -> StepBenchmark.Result {
        let process = Process(), output = Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments =
            ["mpirun", "-n", "\(point.ranks)", "--oversubscribe", "--bind-to", "none"]
            + [ProcessInfo.processInfo.arguments[0], "step", "--steps", "\(measurement.steps)", "--json"]
            + point.settings.arguments
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0,
            let result = try? JSONDecoder().decode(StepMeasurement.Output.self, from: data)
        else {
            throw CommandFailure("\(point.label): the measurement ended with \(process.terminationStatus)", .wrongUse)
        }
        return result.step
    }

    private func printTable(_ rows: [StepSweep.Row]) {
        let width = (rows.map(\.point.count).max() ?? 0) + 2
        func line(_ first: String, _ rest: [String]) {
            print(
                first.padding(toLength: width, withPad: " ", startingAt: 0)
                    + rest.map { String(repeating: " ", count: max(1, 15 - $0.count)) + $0 }.joined())
        }
        let hasPlan = rates != nil
        line(
            "",
            ["threads", "tokens/s", "of the first", "utilisation", "communication", "peak memory"]
                + (hasPlan ? ["estimated", "off by", "memory", "off by"] : []))
        let first = rows.lazy.compactMap(\.step?.tokensPerSecond).first
        for row in rows {
            guard let step = row.step else {
                let estimate =
                    row.plan?.secondsPerStep.map { ", estimated \(String(format: "%.2f s a step", $0))" } ?? ""
                print(row.point.padding(toLength: width, withPad: " ", startingAt: 0) + (row.reason ?? "") + estimate)
                continue
            }
            let communication = (step.parts["communication"] ?? 0) + (step.parts["wait"] ?? 0)
            let memory = step.peakResidentBytes - step.sharedBytesOfOthers
            var cells = [
                "\(step.threads)", String(format: "%.1f", step.tokensPerSecond),
                percent(step.tokensPerSecond / (first ?? step.tokensPerSecond)), percent(step.utilization),
                percent(communication / step.secondsPerStep), gigabytes(memory),
            ]
            if let plan = row.plan, let seconds = plan.secondsPerStep {
                cells += [
                    String(format: "%.1f", Double(step.tokensPerStep) / seconds),
                    signed(seconds / step.secondsPerStep - 1), gigabytes(plan.memoryBytes),
                    signed(Double(plan.memoryBytes) / Double(memory) - 1),
                ]
            }
            line(row.point, cells)
        }
        for row in rows {
            let mark = busyMark(row.step?.othersShare)
            if !mark.isEmpty { print("\(row.point)\(mark)") }
        }
    }

    private func percent(_ share: Double) -> String { String(format: "%.1f %%", 100 * share) }
    private func signed(_ share: Double) -> String { String(format: "%+.1f %%", 100 * share) }
    private func gigabytes(_ bytes: Int) -> String { String(format: "%.2f GB", Double(bytes) / 1e9) }
}

extension StepBenchmark.Settings {
    /// The options of `tf-bench step` that mean these settings.
    fileprivate var arguments: [String] {
        var arguments = [
            "--model", name, "--sequence", "\(sequenceLength)", "--images", "\(images)", "--patches",
            "\(patchesPerImage)", "--micro-batches", "\(microBatches)", "--precision", type.rawValue, "--recompute",
            recomputation.rawValue, "--patch-coder", patchCoder.rawValue, "--reduction", order.rawValue, "--tensor",
            "\(tensor)",
        ]
        if let threads { arguments += ["--threads", "\(threads)"] }
        if sequenceParallel { arguments.append("--sequence-parallel") }
        return arguments
    }
}
