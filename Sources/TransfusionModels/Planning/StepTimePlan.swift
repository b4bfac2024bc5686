public import TransfusionCore

/// Where the time of a training step goes, in seconds, estimated from the rates of a machine and of the network.
///
/// All ranks are taken to be equally fast: what slow hosts cost, and what hosts with less memory bandwidth for each core
/// than the measured machine, is not in it.
public struct StepTimePlan: Sendable, Equatable, Codable {
    /// Forward and backward pass of all micro-batches of a rank, with what is computed again.
    public var compute: Double
    /// Sums and gathers between the ranks that hold one model together.
    public var tensorExchange: Double
    /// Sums of `reduction: elastic` over the micro-batches of a rank.
    public var elasticSums: Double
    /// Sums of the gradients, as far as the backward pass does not hide them.
    public var gradientExchange: Double
    /// AdamW on this rank's part of the parameters.
    public var update: Double
    /// The gathering of the new weights, as far as the update does not hide it.
    public var weightExchange: Double

    public var total: Double { compute + tensorExchange + elasticSums + gradientExchange + update + weightExchange }

    /// - Parameters:
    ///   - pass: Forward and backward pass of one micro-batch.
    ///   - threads: Of each rank.
    public init(
        _ model: ModelConfiguration, _ layout: MemoryPlan.Layout, _ pass: PassCost,
        machine: MachineRates, threads: Int, network: NetworkRates
    ) {
        // Images do not count for the time.
        self.init(
            RankSizes(model, layout, images: 0), layout, pass, machine: machine, threads: threads, network: network)
    }

    public init(
        _ sizes: RankSizes, _ layout: MemoryPlan.Layout, _ pass: PassCost, machine: MachineRates, threads: Int,
        network: NetworkRates
    ) {
        let tensor = Double(layout.tensor), elements = sizes.elements
        let count = Double(elements.trained)

        let operations = pass.work.operations + pass.work.recomputed
        var seconds = machine.seconds(operations: operations / tensor, width: sizes.width, threads: threads)
        if layout.tensor > 1, !layout.sequenceParallel {
            // Norms and residuals are half of the passes over memory, and every rank does all of them.
            let all = machine.memoryPassSeconds(operations: operations, width: sizes.width, threads: threads)
            seconds += all / 2 * (1 - 1 / tensor)
        }
        let microBatches = Double(layout.microBatches)
        compute = microBatches * seconds
        tensorExchange = microBatches * pass.exchangedBytes / machine.sharedSumBytesPerSecond
        elasticSums = layout.isElastic ? (microBatches - 1) * 4 * count / machine.sharedSumBytesPerSecond : 0

        // Gradients travel beside the backward pass of the last micro-batch, two thirds of it; weights beside the update.
        let exchange = DataExchange(layout, machine, network)
        gradientExchange = Self.exposed(
            exchange.reduceSeconds(elements: count), beside: seconds * 2 / 3, threads: threads)
        let owned = layout.ownedElements ?? (elements.trained + layout.data - 1) / layout.data
        update = machine.updateSeconds(parameters: owned, threads: threads)
        let weightBytes = Double(elements.matrices * layout.type.byteCount + elements.vectors * 4)
        weightExchange = Self.exposed(
            exchange.gatherSeconds(bytes: weightBytes, elements: count), beside: update, threads: threads)
    }

    /// What an exchange adds to the computation beside it: its thread takes one of the rank's, and what lasts longer than
    /// the computation is waited for.
    private static func exposed(_ exchange: Double, beside computation: Double, threads: Int) -> Double {
        max(0, exchange - computation) + min(exchange, computation) / Double(threads)
    }
}

/// The exchanges between the ranks that hold the same part of the model: shared memory inside a host, and between hosts
/// each rank of a host its part.
private struct DataExchange {
    private let machine: MachineRates
    private let network: NetworkRates
    private let hosts: Int
    private let tensor: Int
    /// Of one data-parallel group.
    private let ranksPerHost: Int

    init(_ layout: MemoryPlan.Layout, _ machine: MachineRates, _ network: NetworkRates) {
        self.machine = machine
        self.network = network
        hosts = layout.hosts
        tensor = layout.tensor
        ranksPerHost = (layout.data + layout.hosts - 1) / layout.hosts
    }

    func reduceSeconds(elements: Double) -> Double {
        let bytes = 4 * elements
        let inside = ranksPerHost > 1 ? bytes / machine.sharedSumBytesPerSecond : 0
        // What comes from the other hosts is added up too.
        let added = hosts > 1 ? bytes / Double(ranksPerHost) / machine.sharedSumBytesPerSecond : 0
        return inside + added
            + between(bytes, elements: elements, messageBytes: ExchangeSizes.messageBytes(hosts: hosts))
    }

    func gatherSeconds(bytes: Double, elements: Double) -> Double {
        let inside = ranksPerHost > 1 ? bytes / machine.sharedSumBytesPerSecond : 0
        return inside + between(bytes, elements: elements, messageBytes: .max)
    }

    private func between(_ bytes: Double, elements: Double, messageBytes: Int) -> Double {
        network.exchangeSeconds(
            bytes: bytes * Double(tensor), hosts: hosts, ranks: tensor * ranksPerHost,
            buckets: Int((elements / Double(ExchangeSizes.bucketElements)).rounded(.up)), messageBytes: messageBytes)
    }
}
