import TransfusionConfig
import TransfusionCore

/// The kernel inception distance: the squared maximum mean discrepancy with the kernel (x·y / width + 1)³, without bias.
///
/// ### References
/// Bińkowski et al. 2018.
struct KernelDistance {
    private let a: [Double]
    private let b: [Double]
    private let countA: Int
    private let countB: Int
    private let width: Int

    init(_ a: [Double], _ countA: Int, _ b: [Double], _ countB: Int, width: Int) {
        (self.a, self.countA, self.b, self.countB, self.width) = (a, countA, b, countB, width)
    }

    /// Mean and standard deviation over random subsets; one subset where it would hold all of both.
    func overSubsets(_ subsets: Int, size: Int, seed: UInt64) -> (mean: Double, deviation: Double) {
        let size = min(size, countA, countB)
        let subsets = size == countA && size == countB ? 1 : subsets
        var line = ProgressLine("kernel distance", total: subsets)
        let values = (0..<subsets).map { subset -> Double in
            line.update(subset)
            return distance(
                chosen(size, of: countA, from: a, Philox(seed: seed, purpose: .resampling, step: subset, index: 0)),
                chosen(size, of: countB, from: b, Philox(seed: seed, purpose: .resampling, step: subset, index: 1)),
                size)
        }
        line.clear()
        let mean = values.reduce(0, +) / Double(subsets)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(subsets)
        return (mean, variance.squareRoot())
    }

    /// Different rows: the first `size` of a shuffled list.
    private func chosen(_ size: Int, of count: Int, from features: [Double], _ random: Philox) -> [Double] {
        guard size < count else { return features }
        var order = Array(0..<count)
        for place in 0..<size { order.swapAt(place, place + random.integer(below: count - place, at: place)) }
        return order[..<size].flatMap { features[$0 * width..<($0 + 1) * width] }
    }

    private func distance(_ a: [Double], _ b: [Double], _ size: Int) -> Double {
        func sum(_ a: [Double], _ b: [Double], withoutDiagonal: Bool) -> Double {
            let products = SquareMatrix.product(a, size, b, size, width, transposesB: true)
            var sum = 0.0
            for row in 0..<size {
                for column in 0..<size where !(withoutDiagonal && row == column) {
                    let base = products[row * size + column] / Double(width) + 1
                    sum += base * base * base
                }
            }
            return sum
        }
        let pairs = Double(size) * Double(size - 1)
        return (sum(a, a, withoutDiagonal: true) + sum(b, b, withoutDiagonal: true)) / pairs
            - 2 * sum(a, b, withoutDiagonal: false) / Double(size) / Double(size)
    }
}
