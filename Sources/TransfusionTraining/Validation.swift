internal import TransfusionCore
internal import TransfusionParallel

/// Batches that no player is trained on.
struct HeldOutBatches<Batch: Sendable> {
    /// How many sequences they hold together.
    let sequences: Int
    /// What all of them together hold.
    let counts: BatchCounts
    /// Always the same for the same sequences, noise included.
    let makeBatch: (_ sequences: Range<Int>) throws -> Batch
}

/// Measures the losses on held-out batches. All ranks make one and call it alike.
///
/// The sums of micro-batches are added up in one order, whichever rank computed them: however many data-parallel ranks there
/// are, the bits are the same.
struct Validation<Task: RunTask> {
    private let task: Task
    private let resources: TrainingResources
    private let batches: HeldOutBatches<Task.Batch>
    private let microSequences: Int

    init(
        _ task: Task, _ batches: HeldOutBatches<Task.Batch>, _ resources: TrainingResources, microSequences: Int
    ) {
        self.task = task
        self.batches = batches
        self.resources = resources
        self.microSequences = microSequences
    }

    /// The parts of the loss over all held-out batches, of all players: those that have anything to be measured on.
    /// - Parameter progress: Gets how many sequences have been measured or are measured by other ranks.
    func measure(progress: (_ sequences: Int) -> Void = { _ in }) throws -> [NamedSum] {
        let data = resources.mesh.data, names = batches.counts.denominators.filter { $0.value > 0 }.keys.sorted()
        let slots = stride(from: 0, to: batches.sequences, by: microSequences)
            .map { $0..<min($0 + microSequences, batches.sequences) }
        // What other ranks compute is zero here. The weights are those that the first micro-batch tells.
        var sums = [[Double]](repeating: [Double](repeating: 0, count: slots.count), count: names.count)
        var weights = [Double](repeating: 0, count: names.count)
        for slot in slots.indices where slot % data.size == data.rank {
            progress(slots[slot].lowerBound)
            let batch = try batches.makeBatch(slots[slot])
            for part in try losses(of: batch) {
                guard let index = names.firstIndex(of: part.name) else { continue }
                sums[index][slot] = part.sum
                if slot == 0 { weights[index] = part.weight }
            }
        }
        let all = try data.sum(sums.flatMap(\.self) + weights, site: "validation")
        return names.indices.map { index in
            let own = all[index * slots.count..<(index + 1) * slots.count]
            return batches.counts.part(
                names[index], ReductionOrder.treeSum(Array(own)), weight: all[names.count * slots.count + index])
        }
    }

    private func losses(of batch: Task.Batch) throws -> [NamedSum] {
        try task.players.indices.flatMap {
            try task.losses(batch, batches.counts, player: $0, resources.context)
        }
    }
}
