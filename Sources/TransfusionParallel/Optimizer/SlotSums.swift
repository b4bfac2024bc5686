internal import CKernels
package import TransfusionCore

/// Adds up the gradients of a rank's micro-batches (slots), or other sums over them, in a binary tree, as a binary counter
/// counts: a sum of 2ᵏ slots waits at level k until the next one like it is complete.
package final class SlotSums {
    private let gradients: Tensor
    private let pool: ThreadPool
    private let allocator: CachingAllocator
    /// Level k holds a sum of 2ᵏ slots when bit k of the number of finished slots is set.
    private var levels: [Tensor] = []

    private static let grain = 1 << 14

    /// - Parameter gradients: Where each slot's backward pass leaves its gradients.
    package init(_ gradients: Tensor, pool: ThreadPool, allocator: CachingAllocator) {
        self.gradients = gradients
        self.pool = pool
        self.allocator = allocator
    }

    /// Bytes of the sums that wait.
    var byteCount: Int { levels.reduce(0) { $0 + $1.byteCount } }

    /// Takes the gradients of slot `index`, which is not the last one, and leaves zeros in their place.
    package func finish(slot index: Int) {
        let complete = (~index).trailingZeroBitCount
        while levels.count <= complete { levels.append(Tensor(gradients.shape, .f32, allocator: allocator)) }
        let sum = gradients.f32
        let target = levels[complete].f32
        pool.parallel(gradients.count, grain: Self.grain) { range in
            carry(through: complete, range)
            guard let source = sum.baseAddress, let place = target.baseAddress else { return }
            (place + range.lowerBound).update(from: source + range.lowerBound, count: range.count)
            (source + range.lowerBound).update(repeating: 0, count: range.count)
        }
    }

    /// Turns the gradients of the last slot, in `range` of the flat order, into the sums over all `count` slots.
    package func finish(last range: Range<Int>, of count: Int) {
        precondition(count > 0 && count & (count - 1) == 0, "\(count) slots make no complete tree")
        carry(through: count.trailingZeroBitCount, range)
    }

    /// gradients = level 0 + gradients, then level 1 + that, and so on below `level`.
    private func carry(through level: Int, _ range: Range<Int>) {
        guard let sum = gradients.f32.baseAddress else { return }
        for waiting in levels[..<level] {
            guard let waiting = waiting.f32.baseAddress else { continue }
            tf_accumulate_f32(waiting + range.lowerBound, sum + range.lowerBound, range.count)
        }
    }
}
