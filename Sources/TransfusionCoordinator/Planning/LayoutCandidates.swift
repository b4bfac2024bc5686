internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionModels

/// The layouts that a run could have on a cluster.
struct LayoutCandidates {
    private let configuration: RunConfiguration
    private let model: any PlannedModel
    private let cluster: PlannedCluster
    private let machine: MachineRates

    init(
        _ configuration: RunConfiguration, _ model: any PlannedModel, _ cluster: PlannedCluster,
        _ machine: MachineRates
    ) {
        self.configuration = configuration
        self.model = model
        self.cluster = cluster
        self.machine = machine
    }

    /// Ranks on a host, with equally many whole cores each.
    private var possibleRanksPerHost: [Int] { (1...cluster.cores).filter { cluster.cores % $0 == 0 } }

    private func possibleTensor(_ ranksPerHost: Int) -> [Int] {
        (1...ranksPerHost).filter { ranksPerHost % $0 == 0 && model.canBeSplit(over: $0) }
    }

    /// For each number of ranks on a host and of tensor-parallel ranks, the layouts that differ in nothing else.
    func groups(_ only: [(data: Int, tensor: Int)]?) throws(CommandFailure) -> [[PlannedLayout]] {
        guard let only else {
            let all = possibleRanksPerHost.flatMap { ranks in
                possibleTensor(ranks).map { forms(tensor: $0, ranksPerHost: ranks, data: nil) }
            }
            // Where there are too few micro-batches for more ranks, more slots are the same layout.
            var seen: Set<[Int]> = []
            return all.filter { group in
                guard let layout = group.first else { return false }
                return seen.insert([layout.data, layout.choice.tensor, layout.choice.ranksPerHost]).inserted
            }
        }
        var groups: [[PlannedLayout]] = []
        for (data, tensor) in only {
            // The fewest ranks on a host that make as many: more would stay empty.
            let found = possibleRanksPerHost.lazy.filter { possibleTensor($0).contains(tensor) }
                .map { forms(tensor: tensor, ranksPerHost: $0, data: data) }.first { !$0.isEmpty }
            guard let found else {
                let microBatches = configuration.batch.globalSequences / configuration.batch.microSequences
                throw CommandFailure(
                    reporting: SettingError(
                        "layouts",
                        "\(data)x\(tensor) is not possible for \(model.splitLimit) and "
                            + "\(microBatches) micro-batches on \(cluster.hosts) hosts of \(cluster.cores) cores"))
            }
            groups.append(found)
        }
        return groups
    }

    private var recomputations: [RunConfiguration.Parallel.Recompute] {
        RunConfiguration.Parallel.Recompute.allCases.filter { $0 != .selective || model.recomputesSelectively }
    }

    private func forms(tensor: Int, ranksPerHost: Int, data: Int?, microSequences: Int? = nil) -> [PlannedLayout] {
        recomputations.flatMap { recompute in
            (tensor > 1 ? [true, false] : [configuration.parallel.sequenceParallel]).compactMap { sequenceParallel in
                layout(
                    PlannedLayout.Choice(
                        tensor: tensor, ranksPerHost: ranksPerHost, sequenceParallel: sequenceParallel,
                        recompute: recompute, microSequences: microSequences ?? configuration.batch.microSequences),
                    data: data)
            }
        }
    }

    private func layout(_ choice: PlannedLayout.Choice, data: Int?) -> PlannedLayout? {
        PlannedLayout(choice, data: data, of: configuration, model, on: cluster, machine)
    }

    /// What the configuration says, with the number of ranks on a host that is fastest and fits, or that is least too large.
    var configured: PlannedLayout? {
        let layouts = possibleRanksPerHost.filter { possibleTensor($0).contains(configuration.parallel.tensor) }
            .compactMap { ranks in
                layout(
                    PlannedLayout.Choice(
                        tensor: configuration.parallel.tensor, ranksPerHost: ranks,
                        sequenceParallel: configuration.parallel.sequenceParallel,
                        recompute: configuration.parallel.recompute,
                        microSequences: configuration.batch.microSequences), data: configuration.parallel.data)
            }
        return layouts.filter(\.fits).max { $0.tokensPerDay < $1.tokensPerDay }
            ?? layouts.min { $0.hostMemoryBytes < $1.hostMemoryBytes }
    }

    /// Why none of `forms` fits, and the nearest change with which one does: smaller micro-batches, then a model split
    /// further, then fewer ranks on a host, and a model split less if need be.
    func rejection(of forms: [PlannedLayout]) -> PlanReport.Rejection? {
        guard let least = forms.min(by: { $0.hostMemoryBytes < $1.hostMemoryBytes }) else { return nil }
        let reason =
            "needs \(PlanReport.gigabytes(least.hostMemoryBytes)) of \(PlanReport.gigabytes(cluster.memoryBytes)) a host "
            + "even with \(least.choice.form)"
        return PlanReport.Rejection(layout: least, reason: reason, remedy: remedy(for: least.choice))
    }

    private func remedy(for choice: PlannedLayout.Choice) -> String? {
        func fits(_ tensor: Int, _ ranksPerHost: Int, _ microSequences: Int) -> String? {
            forms(tensor: tensor, ranksPerHost: ranksPerHost, data: nil, microSequences: microSequences)
                .filter(\.fits).max { $0.tokensPerDay < $1.tokensPerDay }?.choice.form
        }
        let smaller = (1..<choice.microSequences).reversed().filter { choice.microSequences % $0 == 0 }
        for micro in smaller {
            if let form = fits(choice.tensor, choice.ranksPerHost, micro) {
                return "micro_sequences \(micro), \(form)"
            }
        }
        for tensor in possibleTensor(choice.ranksPerHost) where tensor > choice.tensor {
            if let form = fits(tensor, choice.ranksPerHost, choice.microSequences) {
                return "tensor \(tensor), \(form)"
            }
        }
        for ranks in possibleRanksPerHost.reversed() where ranks < choice.ranksPerHost {
            let others = possibleTensor(ranks).filter { $0 < choice.tensor }.reversed()
            for tensor in possibleTensor(ranks).filter({ $0 == choice.tensor }) + others {
                if let form = fits(tensor, ranks, choice.microSequences) {
                    let split = tensor == choice.tensor ? "" : "tensor \(tensor), "
                    return "\(ranks == 1 ? "1 rank" : "\(ranks) ranks") a host, \(split)\(form)"
                }
            }
        }
        return nil
    }
}
