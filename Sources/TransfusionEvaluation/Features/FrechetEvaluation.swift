import Foundation
import TransfusionConfig
import TransfusionCore

/// How far two sets of pictures are from each other, by features of theirs: all of `tf-eval frechet`.
public struct FrechetEvaluation: Sendable {
    /// The real ones; see `FeatureSet`.
    public var real: String
    /// The ones that were made.
    public var made: String
    /// How many subsets the kernel distance is the mean of.
    public var subsets = 100
    /// Pictures of each subset; sets with fewer are used whole.
    public var subsetSize = 1000
    /// Which neighbour bounds the surroundings of a picture, for precision and recall.
    public var neighbour = 3
    /// Chooses the subsets.
    public var seed = 0

    public init(real: String, made: String) {
        self.real = real
        self.made = made
    }

    public struct Report: Encodable, Sendable, Equatable {
        /// ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½): FID, when the features are those of Inception's last pooling layer.
        public let frechetDistance: Double
        /// Mean and standard deviation over subsets; nil without features.
        public let kernelDistance: Double?
        public let kernelDistanceDeviation: Double?
        /// The share of the pictures made that lie among the real ones, and of the real ones that lie among those made.
        public let precision: Double?
        public let recall: Double?
        public let width: Int
        public let realCount: Int?
        public let madeCount: Int?

        enum CodingKeys: String, CodingKey {
            case frechetDistance = "frechet_distance"
            case kernelDistance = "kid"
            case kernelDistanceDeviation = "kid_std"
            case realCount = "real_count"
            case madeCount = "made_count"
            case precision, recall, width
        }
    }

    /// - Throws: One line that names the file.
    public func run() throws -> Report {
        let real = try FeatureSet(real)
        let made = try FeatureSet(made)
        guard real.width == made.width else {
            throw CommandFailure(
                "\(made.path): its features are \(made.width) wide, those of \(real.path) \(real.width); "
                    + "both must come from the same network")
        }
        let distance = try Self.frechetDistance(real, made)
        var kernel: (mean: Double, deviation: Double)?, neighbours: (precision: Double, recall: Double)?
        if let a = real.features, let b = made.features, let countA = real.count, let countB = made.count {
            let distances = KernelDistance(a, countA, b, countB, width: real.width)
            kernel = distances.overSubsets(subsets, size: subsetSize, seed: UInt64(bitPattern: Int64(seed)))
            if min(countA, countB) > neighbour {
                neighbours = FeatureNeighbours(a, countA, b, countB, width: real.width, neighbour: neighbour).shares()
            }
        }
        return Report(
            frechetDistance: distance, kernelDistance: kernel?.mean, kernelDistanceDeviation: kernel?.deviation,
            precision: neighbours?.precision, recall: neighbours?.recall, width: real.width, realCount: real.count,
            madeCount: made.count)
    }

    /// The distance of two normal distributions.
    ///
    /// tr(Σ₁Σ₂)^½ is the sum of the roots of the eigenvalues of Σ₁^½·Σ₂·Σ₁^½, which is symmetric.
    ///
    /// ### References
    /// Dowson and Landau 1982; Heusel et al. 2017 (FID).
    private static func frechetDistance(_ a: FeatureSet, _ b: FeatureSet) throws -> Double {
        guard let root = a.covariance.symmetricSquareRoot(),
            let eigen = (root * b.covariance * root).symmetricEigen(vectors: false)
        else { throw CommandFailure("\(a.path): the covariance has no eigenvalues; are its numbers too large?") }
        let means = zip(a.mean, b.mean).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        let roots = eigen.values.reduce(0) { $0 + max(0, $1).squareRoot() }
        return means + a.covariance.trace + b.covariance.trace - 2 * roots
    }
}

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
