public import TransfusionCore
public import TransfusionModels

extension MemoryPlan.Layout {
    /// How a configuration is trained by `data` data-parallel ranks on `hosts` hosts.
    ///
    /// - Parameter type: The type that matrices compute in, which `precision: auto` leaves to the processors.
    public init(_ configuration: RunConfiguration, data: Int, hosts: Int, type: ElementType) {
        self.init()
        self.data = data
        self.hosts = hosts
        self.type = type
        tensor = configuration.parallel.tensor
        sequenceParallel = configuration.parallel.sequenceParallel
        recomputation = TransfusionModel.Recomputation(configuration.parallel.recompute)
        isElastic = configuration.parallel.reduction == .elastic
        let slots = configuration.batch.globalSequences / configuration.batch.microSequences
        microBatches = max(1, (slots + data - 1) / data)
        rules = configuration.optimizer.rules
        saving = configuration.checkpoint.asynchronous ? .inBackground : .inForeground
    }
}

extension TransfusionModel.Recomputation {
    public init(_ recompute: RunConfiguration.Parallel.Recompute) {
        switch recompute {
        case .none: self = .none
        case .selective: self = .selective
        case .full: self = .full
        }
    }
}
