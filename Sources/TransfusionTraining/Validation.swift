internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionParallel

/// Batches that no player is trained on.
struct HeldOutBatches<Batch: Sendable> {
    /// Which of the run's data sets they are of, where it is one of several; nil for what stands for all of the data.
    var source: String?
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
/// are, the bits are the same; so they are with two tensor-parallel ranks that share the model out evenly.
struct Validation<Task: RunTask> {
    private let task: Task
    private let resources: TrainingResources
    private let sets: [HeldOutBatches<Task.Batch>]
    private let microSequences: Int

    /// - Parameter sets: Measured one after the other.
    init(
        _ task: Task, _ sets: [HeldOutBatches<Task.Batch>], _ resources: TrainingResources, microSequences: Int
    ) {
        self.task = task
        self.sets = sets
        self.resources = resources
        self.microSequences = microSequences
    }

    /// Of all sets together.
    var sequences: Int { sets.reduce(0) { $0 + $1.sequences } }

    /// The parts of the loss over the held-out batches, of all players: those that have anything to be measured on.
    ///
    /// Those of one data set among several are named `PART/SOURCE`, and are no part of the total.
    /// - Parameter progress: Gets how many sequences have been measured or are measured by other ranks.
    func measure(progress: (_ sequences: Int) -> Void = { _ in }) throws -> [NamedSum] {
        var before = 0
        return try sets.flatMap { batches in
            defer { before += batches.sequences }
            let parts = try measure(batches) { progress(before + $0) }
            guard let source = batches.source else { return parts }
            return parts.map { NamedSum(name: "\($0.name)/\(source)", sum: $0.sum, count: $0.count, weight: 0) }
        }
    }

    private func measure(
        _ batches: HeldOutBatches<Task.Batch>, progress: (_ sequences: Int) -> Void
    ) throws -> [NamedSum] {
        let data = resources.mesh.data, names = batches.counts.denominators.filter { $0.value > 0 }.keys.sorted()
        let slots = stride(from: 0, to: batches.sequences, by: microSequences)
            .map { $0..<min($0 + microSequences, batches.sequences) }
        // What other ranks compute is zero here. The weights are those that the first micro-batch tells.
        var sums = [[Double]](repeating: [Double](repeating: 0, count: slots.count), count: names.count)
        var weights = [Double](repeating: 0, count: names.count)
        for slot in slots.indices where slot % data.size == data.rank {
            progress(slots[slot].lowerBound)
            let batch = try batches.makeBatch(slots[slot])
            for part in try losses(of: batch, batches.counts) {
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

    private func losses(of batch: Task.Batch, _ counts: BatchCounts) throws -> [NamedSum] {
        try task.players.indices.flatMap {
            let player = $0
            return try resources.context.summingInHalves {
                try task.losses(batch, counts, player: player, resources.context)
            }
        }
    }
}
