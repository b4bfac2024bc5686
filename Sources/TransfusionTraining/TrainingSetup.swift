internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionParallel
internal import TransfusionTelemetry

/// What a run trains with: the ranks and their threads, the task, and what it changes.
struct TrainingSetup<Task: RunTask> {
    let resources: TrainingResources
    let task: Task
    let state: TrainingState
    /// nil when the configuration wants none.
    let validation: Validation<Task>?
    let utilization: Utilization
    /// What this rank holds in memory once it has done a step and a checkpoint; nil when that is not known.
    let memory: MemoryPlan?
    /// What a person should know at the start, a line each.
    let report: [String]

    /// All ranks call it.
    init(_ configuration: RunConfiguration, _ resources: TrainingResources, _ task: Task) throws {
        self.resources = resources
        self.task = task
        state = TrainingState(task.players, resources, order: ReductionOrder(configuration.parallel.reduction))
        let heldOut = try task.heldOutBatches()
        validation =
            heldOut.isEmpty
            ? nil : Validation(task, heldOut, resources, microSequences: configuration.batch.microSequences)
        utilization = try Utilization(resources.group, resources.context)
        // All of the state has been written by now; what else is resident is the program.
        let stateBytes = state.weightBytes + state.gradientBytes + state.optimizerBytes
        memory = try task.memoryPlan(
            programBytes: max(0, ProcessMemory.residentBytes - stateBytes), ownedElements: state.ownedElements)
        report = task.description + Self.report(resources, utilization, memory)
    }

    private static func report(
        _ resources: TrainingResources, _ utilization: Utilization, _ memory: MemoryPlan?
    ) -> [String] {
        func megabytes(_ bytes: Int) -> String { String(format: "%.1f MB", Double(bytes) / 1e6) }
        let cpu = CPUReport(), context = resources.context, mesh = resources.mesh, threads = context.pool.threadCount
        var lines = [
            "processor: \(cpu.summary)",
            "compute: \(context.type.rawValue), \(mesh.world.size) \(mesh.world.size == 1 ? "rank" : "ranks") (\(mesh.shape)) × "
                + "\(threads) threads, matrix products at \(Int(utilization.peakRate / 1e9)) GFLOP/s together"
                + busyNote(utilization),
        ]
        if let memory {
            lines.append(
                "memory per rank: "
                    + memory.classes.map { "\($0.name) \(megabytes($0.bytes))" }.joined(separator: ", ")
                    + "; together \(megabytes(memory.total))")
        }
        if threads * resources.ranksOnHost > cpu.cpuCount {
            lines.append(
                "warning: \(resources.ranksOnHost) ranks × \(threads) threads share \(cpu.cpuCount) processors; "
                    + "set parallel.threads or start fewer ranks")
        }
        return lines
    }

    /// Why the rate of matrix products is not what utilisation can be a share of.
    private static func busyNote(_ utilization: Utilization) -> String {
        guard !utilization.isPeakQuiet else { return "" }
        guard let share = utilization.othersShareAtPeak else {
            return " (no mfu: /proc/stat does not say who else computes)"
        }
        return String(format: " while others used %.0f %% of the processors (no mfu until that is less)", 100 * share)
    }
}

extension ReductionOrder {
    init(_ reduction: RunConfiguration.Parallel.Reduction) {
        switch reduction {
        case .fast: self = .fast
        case .elastic: self = .elastic
        }
    }
}
