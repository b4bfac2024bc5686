import TransfusionCore
public import TransfusionModels
internal import TransfusionParallel

extension StepBenchmark {
    /// What the planner says of a step that could be measured.
    public struct Plan: Sendable, Codable {
        /// Of one rank.
        public var memoryBytes: Int
        /// nil without the rates of a machine.
        public var step: StepTimePlan?

        public var secondsPerStep: Double? { step?.total }
    }
}

extension StepBenchmark.Settings {
    /// What each of `data` × `tensor` ranks of one host takes in memory, and how long their step lasts.
    ///
    /// - Throws: `RowLayoutError` when the images do not fit into the sequence.
    public func plan(data: Int, machine: MachineRates?) throws -> StepBenchmark.Plan {
        let model = model, layout = memoryLayout(data: data)
        let pass = try TransfusionModel.cost(model, layout, microBatch)
        let memory = MemoryPlan(model, layout, pass, images: images, programBytes: machine?.programBytes ?? 0)
        let threads = threads ?? max(1, CPUReport().cpuCount / (data * tensor))
        // The ranks share a host: nothing passes through a network.
        let network = NetworkRates(bytesPerSecond: .infinity, latency: 0)
        return StepBenchmark.Plan(
            memoryBytes: memory.total,
            step: machine.map { StepTimePlan(model, layout, pass, machine: $0, threads: threads, network: network) })
    }

    func memoryLayout(data: Int) -> MemoryPlan.Layout {
        var layout = MemoryPlan.Layout()
        layout.data = data
        layout.tensor = tensor
        layout.sequenceParallel = sequenceParallel
        layout.recomputation = recomputation
        layout.type = type
        layout.isElastic = order == .elastic
        layout.microBatches = microBatches
        layout.saving = .never
        return layout
    }

    var microBatch: MicroBatchSizes {
        MicroBatchSizes(
            sequenceLength: sequenceLength, images: images, targets: sequenceLength - images * patchesPerImage)
    }
}
