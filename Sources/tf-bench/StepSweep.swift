import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import TransfusionParallel
import TransfusionTraining

/// Measures steps that differ in one thing, each as an MPI job of its own, and shows them in one table.
///
/// What does not fit into the host's memory is not started; the planner's number stands in its place.
struct StepSweep {
    /// What may differ.
    enum Axis: String, ExpressibleByArgument, CaseIterable {
        case sequence, images, model
    }

    struct Point {
        let label: String
        let settings: StepBenchmark.Settings
        var data = 1
    }

    struct Row: Codable {
        let point: String
        let step: StepBenchmark.Result?
        /// Nil for a layout that the model cannot have.
        let plan: StepBenchmark.Plan?
        /// Why nothing was measured.
        let reason: String?
    }

    private let points: [Point]
    private let steps: Int
    private let machine: MachineRates?

    init(_ points: [Point], steps: Int, machine: MachineRates?) {
        self.points = points
        self.steps = steps
        self.machine = machine
    }

    /// The same step in other layouts.
    init(layouts: LayoutList, _ settings: StepBenchmark.Settings, steps: Int, machine: MachineRates?) {
        let points = layouts.layouts.map { data, tensor in
            var settings = settings
            settings.tensor = tensor
            return Point(label: "data \(data) × tensor \(tensor)", settings: settings, data: data)
        }
        self.init(points, steps: steps, machine: machine)
    }

    init(_ axis: Axis, _ settings: StepBenchmark.Settings, steps: Int, machine: MachineRates?) {
        let points =
            switch axis {
            case .sequence: Self.sequences(settings)
            case .images: Self.images(settings)
            case .model: Self.models(settings)
            }
        self.init(points, steps: steps, machine: machine)
    }

    /// Half of the rows are patches, and a step has as many rows as the longest sequence that it is compared with.
    private static func sequences(_ settings: StepBenchmark.Settings) -> [Point] {
        let lengths = [512, 1024, 2048, 4096, 8192]
        return lengths.map { length in
            var settings = settings
            settings.sequenceLength = length
            settings.images = length / 2 / settings.patchesPerImage
            settings.microBatches = max(1, 4096 / length)
            return Point(label: "sequence \(length)", settings: settings)
        }
    }

    /// From text alone to a sequence that is full of patches.
    private static func images(_ settings: StepBenchmark.Settings) -> [Point] {
        (0...settings.sequenceLength / settings.patchesPerImage).map { count in
            var settings = settings
            settings.images = count
            let share = 100 * count * settings.patchesPerImage / settings.sequenceLength
            return Point(label: "\(share) % patches", settings: settings)
        }
    }

    /// Each as asked for, or with full recomputation if it does not fit otherwise.
    private static func models(_ settings: StepBenchmark.Settings) -> [Point] {
        ModelPreset.allCases.map { preset in
            var settings = settings
            settings.name = preset.rawValue
            settings.sizes = preset.sizes
            guard settings.recomputation != .full, let plan = try? settings.plan(data: 1, machine: nil),
                MemoryPlan.total(plan.memoryBytes, ranks: settings.tensor) > availableBytes
            else { return Point(label: preset.rawValue, settings: settings) }
            settings.recomputation = .full
            return Point(label: "\(preset.rawValue), recompute full", settings: settings)
        }
    }

    func run(json: Bool) throws {
        var rows: [Row] = []
        var progress = ProgressLine("measuring", total: points.count)
        for point in points {
            progress.update(rows.count, point.label)
            rows.append(try row(point))
        }
        progress.clear()
        if json { return try printJSON(rows) }
        printTable(rows)
    }

    private func row(_ point: Point) throws -> Row {
        let heads = point.settings.sizes.heads, tensor = point.settings.tensor
        guard heads % tensor == 0 else {
            return Row(
                point: point.label, step: nil, plan: nil,
                reason: "\(heads) heads cannot be split over \(tensor) ranks")
        }
        let ranks = point.data * tensor
        let plan = try point.settings.plan(data: point.data, machine: machine)
        let needed = MemoryPlan.total(plan.memoryBytes, ranks: ranks), available = Self.availableBytes
        guard needed <= available else {
            return Row(
                point: point.label, step: nil, plan: plan,
                reason: "needs \(gigabytes(needed)) on this host, \(gigabytes(available)) are available")
        }
        return Row(point: point.label, step: try measure(point), plan: plan, reason: nil)
    }

    private func measure(_ point: Point) throws -> StepBenchmark.Result {
        let process = Process(), output = Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments =
            ["mpirun", "-n", "\(point.data * point.settings.tensor)", "--oversubscribe", "--bind-to", "none"]
            + [ProcessInfo.processInfo.arguments[0], "step", "--steps", "\(steps)", "--json"]
            + point.settings.arguments
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0,
            let result = try? JSONDecoder().decode(StepCommand.Output.self, from: data)
        else {
            throw CommandFailure("\(point.label): the measurement ended with \(process.terminationStatus)", .wrongUse)
        }
        return result.step
    }

    private func printTable(_ rows: [Row]) {
        let width = (rows.map(\.point.count).max() ?? 0) + 2
        func line(_ first: String, _ rest: [String]) {
            print(
                first.padding(toLength: width, withPad: " ", startingAt: 0)
                    + rest.map { String(repeating: " ", count: max(1, 15 - $0.count)) + $0 }.joined())
        }
        let hasPlan = machine != nil
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

    /// What the kernel would give without swapping.
    private static var availableBytes: Int {
        let text = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
        return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 } ?? .max
    }
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
