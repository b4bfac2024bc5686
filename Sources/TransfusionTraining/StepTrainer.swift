internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionParallel
package import TransfusionTelemetry

/// Does the steps of a task: from the batch to the update of the weights. All ranks have one and call it alike.
package final class StepTrainer<Task: TrainingTask> {
    private let task: Task
    private let resources: TrainingResources
    private let state: TrainingState
    private let batch: BatchShape
    private let timer: PhaseTimer
    private let prefetcher: BatchPrefetcher<Task.Batch>
    /// The micro-batches of the step that were surveyed, until its end.
    private var surveyed: [BatchAddress: Task.Batch] = [:]

    /// How many sequences a global batch has, and how many of them a rank computes at once.
    package struct BatchShape {
        let globalSequences: Int
        let microSequences: Int

        package init(globalSequences: Int, microSequences: Int) {
            self.globalSequences = globalSequences
            self.microSequences = microSequences
        }

        init(_ batch: RunConfiguration.Batch) {
            self.init(globalSequences: batch.globalSequences, microSequences: batch.microSequences)
        }
    }

    package init(
        _ task: Task, _ resources: TrainingResources, _ state: TrainingState, batch: BatchShape, timer: PhaseTimer
    ) {
        self.task = task
        self.resources = resources
        self.state = state
        self.batch = batch
        self.timer = timer
        prefetcher = BatchPrefetcher(task.makeBatch)
    }

    /// Trains each player whose turn it is. The timer is told where the time goes.
    /// - Throws: `SharedFailure` when a number is none any more. The player is then as it was after the step before.
    package func train() throws -> StepSummary {
        let counts = try task.counts(step: state.step)
        var summary = StepSummary(step: state.step, counts: counts)
        let players = state.trainedPlayers(at: state.step)
        defer { surveyed = [:] }
        for (index, player) in players.enumerated() {
            let next = BatchAddress(
                step: index + 1 < players.count ? state.step : state.step + 1, sequences: ownSequences.first ?? 0..<0)
            let optimizer = state.players[player].optimizer
            if task.needsSurvey(player: player, step: state.step) { try survey(player, counts) }
            if state.playersWithGradients > 1 { state.players[player].parameters.gradients?.fill(0) }
            let local = try accumulateGradients(of: player, counts, next: next) { slot, count in
                try optimizer.backward(resources.context, slot: slot, of: count)
            }
            try timer.measure(.wait) { try resources.group.barrier(site: "end of backward") }
            let norm = try timer.measure(.communication) { try optimizer.reduceGradients() }
            let (losses, operations) = try total(local)
            if !losses.loss.isFinite || !norm.isFinite { try stopEverywhere(player, counts) }
            let learningRate = state.players[player].player.schedule.learningRate(state.step)
            try timer.measure(.communication) { try state.update(player, learningRate: learningRate, norm: norm) }
            let measures = try task.conclude(
                player: player, step: state.step, optimizer: optimizer.optimizer, group: resources.mesh.data)
            summary.add(losses + measures, gradientNorm: norm, learningRate: learningRate, operations: operations)
        }
        state.advance(by: summary)
        return summary
    }

    /// What this rank's micro-batches of a step amounted to.
    private struct LocalSums {
        var losses: [NamedSum] = []
        /// Floating-point operations of the model.
        var operations = 0.0
    }

    /// The sequences of the global batch that this rank computes: its share of the micro-batches, in order.
    private var ownSequences: [Range<Int>] {
        let micro = batch.microSequences, slots = batch.globalSequences / micro
        let data = resources.mesh.data
        let mine = slots * data.rank / data.size..<slots * (data.rank + 1) / data.size
        return mine.map { $0 * micro..<($0 + 1) * micro }
    }

    /// Shows the task all of this rank's micro-batches, as a player's losses depend on all of them.
    private func survey(_ player: Int, _ counts: BatchCounts) throws {
        let own = ownSequences
        let batches = try own.indices.map { index in
            let address = BatchAddress(step: state.step, sequences: own[index])
            let next =
                index + 1 < own.count
                ? BatchAddress(step: state.step, sequences: own[index + 1])
                : BatchAddress(step: state.step + 1, sequences: own[0])
            let batch = try surveyed[address] ?? timer.measure(.data) { try prefetcher.take(address, next: next) }
            surveyed[address] = batch
            return batch
        }
        try task.survey(batches, counts, player: player, group: resources.mesh.data, resources.context)
    }

    /// Forward and backward of this rank's micro-batches.
    ///
    /// - Parameters:
    ///   - next: The micro-batch that is needed after them.
    ///   - backward: The backward pass of the n-th of this rank's micro-batches.
    private func accumulateGradients(
        of player: Int, _ counts: BatchCounts, next: BatchAddress, backward: (_ slot: Int, _ count: Int) throws -> Void
    ) throws -> LocalSums {
        let addresses = ownSequences.map { BatchAddress(step: state.step, sequences: $0) }
        let context = resources.context, workBefore = context.work
        var slots: [[NamedSum]] = []
        for (index, address) in addresses.enumerated() {
            let next = index + 1 < addresses.count ? addresses[index + 1] : next
            let batch = try surveyed[address] ?? timer.measure(.data) { try prefetcher.take(address, next: next) }
            slots.append(try context.record { try task.losses(batch, counts, player: player, context) })
            try backward(index, addresses.count)
        }
        var local = LocalSums(losses: slots.first ?? [])
        local.operations = context.work.operations - workBefore.operations
        for part in local.losses.indices { local.losses[part].sum = ReductionOrder.treeSum(slots.map { $0[part].sum }) }
        return local
    }

    /// Sums what the data-parallel ranks have found.
    private func total(_ local: LocalSums) throws -> (losses: [NamedSum], operations: Double) {
        var losses = local.losses
        let sums = try resources.mesh.data.sum(losses.map(\.sum) + [local.operations], site: "losses")
        for part in losses.indices { losses[part].sum = sums[part] }
        return (losses, sums[losses.count])
    }

    /// Ends the run on all ranks because a loss or gradient is not finite, before anything is updated.
    ///
    /// The numbers at hand are sums over the ranks, the same on each, so all decide alike. Who brought the bad one is
    /// found by computing the step again without adding up.
    private func stopEverywhere(_ player: Int, _ counts: BatchCounts) throws -> Never {
        let group = resources.group, parameters = state.players[player].parameters
        parameters.gradients?.fill(0)
        let next = BatchAddress(step: state.step, sequences: ownSequences.first ?? 0..<0)
        let again = try accumulateGradients(of: player, counts, next: next) { _, _ in try resources.context.backward() }
        var finding = ""
        if let parameter = parameters.firstNonFiniteGradient() {
            finding = "rank \(group.rank): the gradient of \(parameter.name)"
        } else if !again.losses.allSatisfy(\.sum.isFinite) {
            finding = "rank \(group.rank): the loss"
        }
        let all = try group.allGather(Array(finding.utf8), site: "non-finite numbers")
        let findings = all.filter { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self) }
        let error = NonFiniteError(
            step: state.step + 1, findings: findings.isEmpty ? ["the sum of the gradients"] : findings,
            rank: all.firstIndex { !$0.isEmpty })
        throw SharedFailure(failure: CommandFailure(reporting: error))
    }
}
