internal import Foundation
internal import TransfusionCore
public import TransfusionModels

/// Training steps that differ in one thing, each measured as an MPI job of its own.
///
/// What does not fit into the host's memory is not started; the planner's number stands in its place.
public struct StepSweep {
    /// What may differ.
    public enum Axis: String, CaseIterable, Sendable {
        case sequence, images, model
    }

    /// A step to measure.
    public struct Point: Sendable {
        public let label: String
        public let settings: StepBenchmark.Settings
        /// Data-parallel ranks.
        public var data = 1

        public var ranks: Int { data * settings.tensor }
    }

    public struct Row: Sendable, Codable {
        public let point: String
        public let step: StepBenchmark.Result?
        /// Nil for a layout that the model cannot have.
        public let plan: StepBenchmark.Plan?
        /// Why nothing was measured.
        public let reason: String?
    }

    public let points: [Point]
    private let machine: MachineRates?
    /// Bytes that the ranks of a step may take together.
    private let availableBytes: Int

    /// The same step in other layouts.
    /// - Parameter machine: What the planner estimates with; nil leaves times out.
    public init(
        layouts: [(data: Int, tensor: Int)], _ settings: StepBenchmark.Settings, machine: MachineRates?,
        availableBytes: Int = Self.availableBytesOfThisHost
    ) {
        points = layouts.map { data, tensor in
            var settings = settings
            settings.tensor = tensor
            return Point(label: "data \(data) × tensor \(tensor)", settings: settings, data: data)
        }
        self.machine = machine
        self.availableBytes = availableBytes
    }

    public init(
        _ axis: Axis, _ settings: StepBenchmark.Settings, machine: MachineRates?,
        availableBytes: Int = Self.availableBytesOfThisHost
    ) {
        points =
            switch axis {
            case .sequence: Self.sequences(settings)
            case .images: Self.images(settings)
            case .model: Self.models(settings, availableBytes: availableBytes)
            }
        self.machine = machine
        self.availableBytes = availableBytes
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
    private static func models(_ settings: StepBenchmark.Settings, availableBytes: Int) -> [Point] {
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

    /// - Parameters:
    ///   - progress: Called with the number of rows that are there, and the label of the next.
    ///   - measure: Measures a point on its number of ranks.
    public func run(
        progress: (_ done: Int, _ label: String) -> Void = { _, _ in },
        measure: (Point) throws -> StepBenchmark.Result
    ) throws -> [Row] {
        try points.enumerated().map { done, point in
            progress(done, point.label)
            return try row(point, measure)
        }
    }

    private func row(_ point: Point, _ measure: (Point) throws -> StepBenchmark.Result) throws -> Row {
        let heads = point.settings.sizes.heads, tensor = point.settings.tensor
        guard heads % tensor == 0 else {
            return Row(
                point: point.label, step: nil, plan: nil,
                reason: "\(heads) heads cannot be split over \(tensor) ranks")
        }
        let plan = try point.settings.plan(data: point.data, machine: machine)
        let needed = MemoryPlan.total(plan.memoryBytes, ranks: point.ranks)
        guard needed <= availableBytes else {
            func gigabytes(_ bytes: Int) -> String { String(format: "%.2f GB", Double(bytes) / 1e9) }
            return Row(
                point: point.label, step: nil, plan: plan,
                reason: "needs \(gigabytes(needed)) on this host, \(gigabytes(availableBytes)) are available")
        }
        return Row(point: point.label, step: try measure(point), plan: plan, reason: nil)
    }

    /// What the kernel would give without swapping.
    public static var availableBytesOfThisHost: Int {
        let text = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
        return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 } ?? .max
    }
}
