import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionTraining

/// Layouts as the command line names them: `2x1` is 2 data-parallel parts of 1 rank.
struct LayoutList: ExpressibleByArgument {
    let layouts: [(data: Int, tensor: Int)]

    init?(argument: String) {
        layouts = argument.split(separator: ",").compactMap {
            let parts = $0.split(separator: "x").compactMap { Int($0) }
            return parts.count == 2 && parts.allSatisfy { 1...1024 ~= $0 } ? (parts[0], parts[1]) : nil
        }
        guard !layouts.isEmpty, layouts.count == argument.split(separator: ",").count else { return nil }
    }
}

/// Measures one layout after the other, each as an MPI job of its own.
struct LayoutSweep {
    private let layouts: LayoutList
    private let arguments: [String]

    init(_ layouts: LayoutList, arguments: [String]) {
        self.layouts = layouts
        self.arguments = arguments
    }

    func run(json: Bool) throws {
        var results: [StepBenchmark.Result] = []
        var progress = ProgressLine("measuring layouts", total: layouts.layouts.count)
        for layout in layouts.layouts {
            results.append(try measure(layout))
            progress.update(results.count)
        }
        progress.clear()
        if json { return try printJSON(results) }
        print("layout                  threads    tokens/s   of first   utilisation   communication   peak resident")
        for result in results {
            let communication = (result.parts["communication"] ?? 0) + (result.parts["wait"] ?? 0)
            print(
                result.layout.padding(toLength: 22, withPad: " ", startingAt: 0)
                    + String(
                        format: "%9d %11.1f %8.1f %% %11.1f %% %13.1f %% %11.0f MiB", result.threads,
                        result.tokensPerSecond, 100 * result.tokensPerSecond / results[0].tokensPerSecond,
                        100 * result.utilization, 100 * communication / result.secondsPerStep,
                        Double(result.peakResidentBytes) / 1_048_576))
        }
    }

    private func measure(_ layout: (data: Int, tensor: Int)) throws -> StepBenchmark.Result {
        let process = Process(), output = Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments =
            ["mpirun", "-n", "\(layout.data * layout.tensor)", "--oversubscribe", "--bind-to", "none"]
            + [ProcessInfo.processInfo.arguments[0], "step", "--tensor", "\(layout.tensor)", "--json"] + arguments
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0,
            let result = try? JSONDecoder().decode(StepCommand.Output.self, from: data)
        else {
            throw CommandFailure(
                "--layouts: \(layout.data)x\(layout.tensor) ended with \(process.terminationStatus)", .wrongUse)
        }
        return result.step
    }
}
