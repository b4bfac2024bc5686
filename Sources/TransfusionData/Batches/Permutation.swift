package import TransfusionCore

/// A shuffle of `0 ..< count` that stores nothing: any place in it is computed from its key alone.
///
/// A balanced Feistel network over the next even number of bits, walked until it lands inside the range; Philox is the
/// round function.
///
/// ### References
/// Black and Rogaway 2002, "Ciphers with arbitrary finite domains" (cycle walking).
package struct Permutation {
    let count: Int
    private let random: Philox
    private let halfBits: Int

    /// - Parameter epoch: Each epoch, and each index in it, has a shuffle of its own.
    package init(count: Int, seed: UInt64, purpose: Philox.Purpose, epoch: Int, index: Int = 0) {
        precondition(count > 0)
        self.count = count
        random = Philox(seed: seed, purpose: purpose, step: epoch, index: index)
        let bits = Int.bitWidth - (count - 1).leadingZeroBitCount
        halfBits = max(1, (bits + 1) / 2)
    }

    package func callAsFunction(_ index: Int) -> Int {
        precondition(index >= 0 && index < count)
        var value = index
        repeat { value = encrypt(value) } while value >= count
        return value
    }

    private func encrypt(_ value: Int) -> Int {
        let mask = (1 << halfBits) - 1
        var left = value >> halfBits
        var right = value & mask
        for round in 0..<6 {
            // Halves have at most 32 bits, so round and half make one block number below 2^56.
            let mixed = Int(random.words(round << 32 | right).x) & mask
            (left, right) = (right, left ^ mixed)
        }
        return left << halfBits | right
    }
}
