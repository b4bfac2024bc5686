/// In which order the gradients of a global batch are added up.
public enum ReductionOrder: String, Sendable, CaseIterable {
    /// Each rank adds its micro-batches one after the other: no memory of its own, but the rounding depends on how many
    /// ranks there are.
    case fast
    /// One binary tree over the micro-batches of the global batch: 1, 2, 4 … data-parallel ranks give the same bits.
    /// A rank needs another gradient buffer each time its number of micro-batches doubles.
    case elastic

    /// Why `slots` micro-batches cannot be summed in this order by `data` ranks, with what can be; nil if they can.
    public func problem(slots: Int, data: Int) -> String? {
        guard self == .elastic else { return nil }
        func isPower(_ number: Int) -> Bool { number > 0 && number & (number - 1) == 0 }
        func powers(near number: Int) -> String {
            let below = 1 << (Int.bitWidth - 1 - max(number, 1).leadingZeroBitCount)
            return "\(below) or \(below * 2)"
        }
        if !isPower(slots) {
            return "elastic needs a power of two of micro-batches in the global batch, not \(slots): "
                + "use \(powers(near: slots)), or reduction: fast"
        }
        if !isPower(data) {
            return "elastic needs a power of two of data-parallel ranks, not \(data): "
                + "use \(powers(near: data)), or reduction: fast"
        }
        return nil
    }

    /// Adds up in the order of a binary tree, complete on its left: `((0 + 1) + (2 + 3)) + …`.
    ///
    /// The sums of 2ᵏ aligned runs of equal, power-of-two length, added up like this, give the sum of everything.
    public static func treeSum(_ values: some Collection<Double>) -> Double {
        guard values.count > 1, let first = values.first else { return values.first ?? 0 }
        guard values.count > 2 else { return first + values.dropFirst().reduce(0, +) }
        let half = 1 << (Int.bitWidth - 1 - (values.count - 1).leadingZeroBitCount)
        return treeSum(values.prefix(half)) + treeSum(values.dropFirst(half))
    }
}
