internal import Foundation
internal import TransfusionConfig
public import TransfusionCore
public import TransfusionModels
internal import TransfusionParallel
internal import TransfusionTelemetry

/// Measures what `tf-coord plan' works with: two small models of different widths, shared memory and the disk.
///
/// What a step costs beyond its matrix products are passes over memory, which become fewer for each product as the model
/// becomes wider. Two widths give both parts; a third model tells how far the two parts can be trusted.
public struct RatesBenchmark {
    public struct Settings: Sendable {
        public var type = ElementType.bf16
        public var threads: Int?
        /// Where the disk is measured.
        public var directory: String
        /// Bytes written there.
        public var diskBytes = 256 << 20

        public init(directory: String) {
            self.directory = directory
        }
    }

    private struct Shape {
        let name: String
        let sizes: (layers: Int, width: Int, heads: Int, feedForward: Int)
    }

    private static let narrow = Shape(name: "4 layers of width 256", sizes: (4, 256, 4, 768))
    private static let wide = Shape(name: "2 layers of width 1024", sizes: (2, 1024, 16, 2816))
    private static let checked = Shape(name: "3 layers of width 640", sizes: (3, 640, 10, 1792))
    /// Small beside the layers, as it is in a large model.
    private static let vocabulary = 2048
    private static let sumBytes = 64 << 20

    private let settings: Settings
    private let progress: (String) -> Void

    /// - Parameter progress: Called with what is measured next.
    public static func run(_ settings: Settings, progress: @escaping (String) -> Void) throws -> MachineRates {
        try RatesBenchmark(settings: settings, progress: progress).run()
    }

    private func run() throws -> MachineRates {
        // The first measurement is alone in memory.
        let narrow = try measure(Self.narrow), wide = try measure(Self.wide)
        let inverse = (narrow: 1 / Double(Self.narrow.sizes.width), wide: 1 / Double(Self.wide.sizes.width))
        // A disturbance of the machine must not make memory passes faster than nothing.
        let slope = max(0, (narrow.perOperation - wide.perOperation) / (inverse.narrow - inverse.wide))
        let fixed = max(0, wide.perOperation - slope * inverse.wide)
        let checked = try measure(Self.checked)
        let rates = MachineRates(
            processor: CPUReport().summary, threads: wide.threads, type: settings.type, matrixRate: wide.peakRate,
            secondsPerOperation: fixed, secondsPerOperationAndInverseWidth: slope,
            updatesPerSecond: wide.updatesPerSecond, sharedSumBytesPerSecond: try measureSharedSum(),
            diskBytesPerSecond: try measureDisk(), programBytes: max(0, narrow.programBytes),
            check: MachineRates.Check(
                model: Self.checked.name, seconds: checked.passSeconds, plannedSeconds: 0,
                activationBytes: checked.activationBytes, plannedActivationBytes: checked.plannedActivationBytes))
        return rates.checked(operations: checked.operations, width: Self.checked.sizes.width)
    }

    private struct Measurement {
        let threads: Int
        let peakRate: Double
        let operations: Double
        /// Forward and backward pass of a micro-batch.
        let passSeconds: Double
        let updatesPerSecond: Double
        let activationBytes: Int
        let plannedActivationBytes: Int
        let programBytes: Int

        var perOperation: Double { passSeconds / operations }
    }

    private func measure(_ shape: Shape) throws -> Measurement {
        progress(shape.name)
        var step = StepBenchmark.Settings()
        step.name = shape.name
        step.sizes = shape.sizes
        step.vocabulary = Self.vocabulary
        step.type = settings.type
        step.threads = settings.threads
        step.microBatches = 1
        let benchmark = try StepBenchmark(step, group: SingleRank())
        let plan = try TransfusionModel.cost(
            step.model, step.memoryLayout(data: 1), step.microBatch)
        let result = try benchmark.run(steps: 8, warmup: 1)
        let pass = result.leastParts[Phase.compute.rawValue] ?? result.secondsPerStep
        let update = result.leastParts[Phase.communication.rawValue] ?? result.secondsPerStep
        return Measurement(
            threads: result.threads, peakRate: result.peakOperationsPerSecond,
            operations: plan.work.operations, passSeconds: pass,
            updatesPerSecond: Double(result.parameters) / update, activationBytes: result.activationBytes,
            plannedActivationBytes: plan.peakBytes,
            // What is resident beyond the state and the blocks that the allocator has written.
            programBytes: ProcessMemory.residentBytes - result.weightBytes - result.gradientBytes
                - result.optimizerBytes - plan.residentBytes)
    }

    private func measureSharedSum() throws -> Double {
        progress("sums in shared memory")
        let seconds = try ThreadGroup.run(ranks: 2) { group in
            let buffer = try group.allocateShared(byteCount: Self.sumBytes)
            let values = buffer.bytes.bindMemory(to: Float.self)
            values.update(repeating: 1)
            return try (0..<7).map { _ in
                try group.barrier(site: "benchmark")
                let start = ContinuousClock.now
                try group.reduceScatterSum(
                    values, offsets: [0, values.count / 2, values.count], site: "benchmark")
                return (ContinuousClock.now - start) / .seconds(1)
            }.sorted()[3]
        }
        return Double(Self.sumBytes) / (seconds.max() ?? .infinity)
    }

    private func measureDisk() throws -> Double {
        progress("the disk")
        let path = settings.directory + "/.tf-bench-\(getpid())"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw CommandFailure("\(settings.directory): cannot be written", .wrongUse)
        }
        defer {
            close(descriptor)
            unlink(path)
        }
        let chunk = [UInt8](repeating: 85, count: 8 << 20)
        let start = ContinuousClock.now
        for _ in 0..<max(1, settings.diskBytes / chunk.count) {
            guard chunk.withUnsafeBytes({ write(descriptor, $0.baseAddress, $0.count) }) == chunk.count else {
                throw CommandFailure("\(settings.directory): no room for \(settings.diskBytes) bytes")
            }
        }
        guard fsync(descriptor) == 0 else {
            throw CommandFailure("\(settings.directory): cannot be written")
        }
        return Double(max(1, settings.diskBytes / chunk.count) * chunk.count)
            / ((ContinuousClock.now - start) / .seconds(1))
    }
}

extension MachineRates {
    /// With what these rates say of the checked step.
    fileprivate func checked(operations: Double, width: Int) -> MachineRates {
        var rates = self
        rates.check.plannedSeconds = seconds(operations: operations, width: width, threads: threads)
        return rates
    }
}
