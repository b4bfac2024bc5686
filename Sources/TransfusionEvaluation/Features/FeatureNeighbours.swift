import TransfusionConfig
import TransfusionCore

/// Precision and recall: the share of one set that lies within the surroundings of the other's members, each as wide as the
/// distance to the member's k-th neighbour.
///
/// ### References
/// Kynkäänniemi et al. 2019.
struct FeatureNeighbours {
    private let a: [Double]
    private let b: [Double]
    private let countA: Int
    private let countB: Int
    private let width: Int
    private let neighbour: Int
    private static let rowsAtOnce = 256

    init(_ a: [Double], _ countA: Int, _ b: [Double], _ countB: Int, width: Int, neighbour: Int) {
        (self.a, self.countA, self.b, self.countB) = (a, countA, b, countB)
        (self.width, self.neighbour) = (width, neighbour)
    }

    /// - Parameter made: `b` is what was made: precision is its share within `a`.
    func shares() -> (precision: Double, recall: Double) {
        var line = ProgressLine("precision and recall", total: 2 * (countA + countB))
        var done = 0
        let radiiA = radii(a, countA) { line.update($0) }
        done = countA
        let radiiB = radii(b, countB) { line.update(done + $0) }
        done += countB
        let precision = share(of: b, countB, within: a, countA, radiiA) { line.update(done + $0) }
        done += countB
        let recall = share(of: a, countA, within: b, countB, radiiB) { line.update(done + $0) }
        line.clear()
        return (precision, recall)
    }

    /// The squared distance of each to its k-th neighbour, itself not counted.
    private func radii(_ features: [Double], _ count: Int, _ report: (Int) -> Void) -> [Double] {
        var radii: [Double] = []
        forEachDistances(features, count, features, count, report) { row, distances in
            var nearest = [Double](repeating: .infinity, count: neighbour)
            for (other, distance) in distances.enumerated() where other != row && distance < nearest[neighbour - 1] {
                var place = neighbour - 1
                while place > 0, nearest[place - 1] > distance {
                    nearest[place] = nearest[place - 1]
                    place -= 1
                }
                nearest[place] = distance
            }
            radii.append(nearest[neighbour - 1])
        }
        return radii
    }

    private func share(
        of features: [Double], _ count: Int, within others: [Double], _ otherCount: Int, _ radii: [Double],
        _ report: (Int) -> Void
    ) -> Double {
        var inside = 0
        forEachDistances(features, count, others, otherCount, report) { _, distances in
            if zip(distances, radii).contains(where: { $0 <= $1 }) { inside += 1 }
        }
        return Double(inside) / Double(count)
    }

    /// Gives each row of `a` its squared distances to all rows of `b`.
    private func forEachDistances(
        _ a: [Double], _ countA: Int, _ b: [Double], _ countB: Int, _ report: (Int) -> Void,
        _ body: (Int, ArraySlice<Double>) -> Void
    ) {
        func squares(_ features: [Double], _ count: Int) -> [Double] {
            (0..<count).map { row in features[row * width..<(row + 1) * width].reduce(0) { $0 + $1 * $1 } }
        }
        let squaresA = squares(a, countA), squaresB = squares(b, countB)
        for first in stride(from: 0, to: countA, by: Self.rowsAtOnce) {
            report(first)
            let rows = min(Self.rowsAtOnce, countA - first)
            var distances = SquareMatrix.product(
                Array(a[first * width..<(first + rows) * width]), rows, b, countB, width, transposesB: true)
            for row in 0..<rows {
                for column in 0..<countB {
                    let place = row * countB + column
                    distances[place] = max(0, squaresA[first + row] + squaresB[column] - 2 * distances[place])
                }
            }
            for row in 0..<rows { body(first + row, distances[row * countB..<(row + 1) * countB]) }
        }
    }
}
