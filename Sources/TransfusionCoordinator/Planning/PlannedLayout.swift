public import TransfusionConfig
import TransfusionCore
public import TransfusionModels

/// One way to train a model on a cluster: how the ranks are arranged, what each holds in memory, how long a step takes.
public struct PlannedLayout: Sendable, Equatable, Codable {
    /// What can be chosen.
    public struct Choice: Sendable, Equatable, Codable {
        /// Ranks that hold one model together.
        public var tensor: Int
        /// Of a layout: on the host that has the most.
        public var ranksPerHost: Int
        public var sequenceParallel: Bool
        public var recompute: RunConfiguration.Parallel.Recompute
        /// Sequences of a micro-batch.
        public var microSequences: Int

        /// What is computed again and shared out, in words.
        var form: String {
            "recompute \(recompute.rawValue)" + (tensor > 1 && !sequenceParallel ? " without sequence_parallel" : "")
        }
    }

    public var choice: Choice
    /// Ranks, or groups of `choice.tensor` ranks, that work on different sequences.
    public var data: Int
    /// Hosts that are used.
    public var hosts: Int
    /// Of each rank.
    public var threads: Int
    /// Micro-batches of a step that the rank with the most of them computes.
    public var microBatches: Int
    /// The share of the time that ranks with fewer micro-batches wait.
    public var idle: Double
    /// Of one rank.
    public var memory: MemoryPlan
    /// Of all ranks of a host.
    public var hostMemoryBytes: Int
    public var fits: Bool
    /// In seconds.
    public var step: StepTimePlan
    public var stepSeconds: Double
    /// The model's operations as a share of what all cores could do in large matrix products.
    public var utilization: Double
    public var checkpoint: CheckpointPlan
    /// Tokens and patches, with the time that checkpoints and failures take.
    public var tokensPerDay: Double

    /// The ranks' memory by class comes from `MemoryPlan`, the step's time from `StepTimePlan`.
    ///
    /// - Parameter data: How many data-parallel ranks are wanted; nil takes as many as the hosts hold.
    /// - Returns: nil when the hosts do not hold a model, or not as many as wanted.
    init?(
        _ choice: Choice, data wanted: Int?, of configuration: RunConfiguration, _ model: any PlannedModel,
        on cluster: PlannedCluster, _ machine: MachineRates
    ) {
        var configuration = configuration
        configuration.parallel.data = wanted
        configuration.parallel.tensor = choice.tensor
        configuration.parallel.sequenceParallel = choice.sequenceParallel
        configuration.parallel.recompute = choice.recompute
        configuration.batch.microSequences = choice.microSequences
        let slots = (0..<cluster.hosts).map { ComputeHost(name: "\($0)", slots: choice.ranksPerHost) }
        guard let placed = try? LayoutChoice(configuration, hosts: slots), placed.data == wanted ?? placed.data,
            let ranksOnHost = placed.ranksOnHosts.map(\.slots).max()
        else { return nil }
        self.choice = choice
        self.choice.ranksPerHost = ranksOnHost
        data = placed.data
        hosts = placed.ranksOnHosts.count
        threads = max(1, cluster.cores / ranksOnHost)

        let layout = MemoryPlan.Layout(configuration, data: data, hosts: hosts, type: machine.type)
        let batch = configuration.batch, sequences = batch.microSequences
        microBatches = layout.microBatches
        idle = 1 - Double(batch.globalSequences / batch.microSequences) / Double(microBatches * data)
        guard let pass = try? model.cost(layout, sequences: sequences) else { return nil }
        let sizes = model.sizes(layout, sequences: sequences)
        memory = MemoryPlan(sizes, layout, pass, programBytes: machine.programBytes)
        hostMemoryBytes = MemoryPlan.total(memory.total, ranks: ranksOnHost)
        fits = hostMemoryBytes <= cluster.memoryBytes

        step = StepTimePlan(sizes, layout, pass, machine: machine, threads: threads, network: cluster.network)
        stepSeconds = step.total
        let tokens = Double(batch.globalSequences * model.rowsPerSequence)
        let operations = pass.work.operations * Double(batch.globalSequences) / Double(sequences)
        let cores = Double(hosts * cluster.cores)
        utilization = operations / stepSeconds / (machine.matrixRate * cores / Double(machine.threads))

        var whole = layout
        whole.tensor = 1
        let all = model.sizes(whole, sequences: sequences), parameters = all.elements.trained
        checkpoint = CheckpointPlan(
            parameters: parameters,
            // Averages are four bytes an element too.
            frozenParameters: all.elements.frozen + all.averagedElements,
            ownedElements: (parameters / choice.tensor + data - 1) / data,
            isAsynchronous: configuration.checkpoint.asynchronous, machine: machine,
            bytesPerSecond: cluster.checkpointBytesPerSecond,
            restartSeconds: configuration.supervision.heartbeatTimeout,
            secondsBetweenFailures: cluster.hostHoursBetweenFailures * 3600 / Double(hosts))
        tokensPerDay = 86400 * tokens / stepSeconds * checkpoint.effectiveTime
    }
}
