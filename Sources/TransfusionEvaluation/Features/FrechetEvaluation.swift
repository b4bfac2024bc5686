import Foundation
import TransfusionConfig
public import TransfusionCore
import TransfusionSupport

/// How far two sets of pictures are from each other, by features of theirs: all of `tf-eval frechet`.
public struct FrechetEvaluation: Sendable {
    /// The real ones: a folder of pictures, or what `FeatureSet` reads.
    public var real: String
    /// The ones that were made.
    public var made: String
    /// The weights of Inception v3 that find features in pictures; nil takes random ones.
    public var weights: String?
    /// How pictures come to the network's size.
    public var variant = InceptionFeatures.Variant.pytorch
    /// Nil takes the processors that this process may use.
    public var threads: Int?
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
        /// What found the features, and how it was shown the pictures; nil for features of files.
        public let network: String?
        public let variant: InceptionFeatures.Variant?

        enum CodingKeys: String, CodingKey {
            case frechetDistance = "frechet_distance"
            case kernelDistance = "kid"
            case kernelDistanceDeviation = "kid_std"
            case realCount = "real_count"
            case madeCount = "made_count"
            case precision, recall, width, network, variant
        }
    }

    /// On this process alone.
    /// - Throws: One line that names the file.
    public func run() throws -> Report {
        guard let report = try run(SingleRank(), ranksOnHost: 1) else { preconditionFailure("rank 0 has no report") }
        return report
    }

    /// All ranks of the group call it and share the pictures; only rank 0 gets the report.
    /// - Throws: `SharedFailure` with one line that names the file.
    public func run(_ group: any Collectives, ranksOnHost: Int) throws -> Report? {
        let folders = Set([real, made].filter(Directories.exists))
        var network: InceptionFeatures?
        if !folders.isEmpty {
            try group.agree("loading the network") {
                guard folders.count == 2 || real == made || weights != nil else {
                    throw CommandFailure(
                        "\(real), \(made): one has features and one has pictures; give the network that found the features",
                        .wrongUse)
                }
                // Before the long work.
                for folder in folders { _ = try PictureList(folder, least: 2) }
                network = try InceptionFeatures(weights: weights, variant, threads: threads, ranksOnHost: ranksOnHost)
            }
        } else if weights != nil {
            throw SettingError("features", "both sets are files that have features already; leave it out")
        }
        let sets = try [real, made].map { path -> FeatureSet? in
            if let network, folders.contains(path) {
                return try network.features(of: try PictureList(path, least: 2), group)
            }
            return group.rank == 0 ? try FeatureSet(path) : nil
        }
        guard let real = sets[0], let made = sets[1] else { return nil }
        return try compare(real, made, network)
    }

    private func compare(_ real: FeatureSet, _ made: FeatureSet, _ network: InceptionFeatures?) throws -> Report {
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
            madeCount: made.count, network: network?.name, variant: network?.variant)
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
