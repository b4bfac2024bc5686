import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionSupport

/// What is known of a set of pictures: their features, or only how these are distributed.
struct FeatureSet {
    let path: String
    let mean: [Double]
    let covariance: SquareMatrix
    /// `[count, width]`; nil when only the distribution is known.
    let features: [Double]?
    let count: Int?

    var width: Int { mean.count }

    private static let largestFile = 4 << 30
    private static let widest = 16384

    /// - Parameter path: An `.npz` with `mu` and `sigma`, or with an array of features, or both; or features as `.npy`.
    /// - Throws: `CommandFailure` or `DataError` that names the file, and the array that is missing or wrong.
    init(_ path: String) throws {
        self.path = path
        func fail(_ problem: String) -> CommandFailure { CommandFailure("\(path): \(problem)") }
        var arrays: [String: NumpyArray] = [:]
        if Paths.fileExtension(of: path) == "npy" {
            arrays["features"] = try NumpyArray(try Files.read(path, limit: Self.largestFile), name: path)
        } else {
            let archive = try ZipArchive(path, limit: Self.largestFile)
            for entry in archive.entries where entry.name.hasSuffix(".npy") {
                let name = String(entry.name.dropLast(4))
                arrays[name] = try NumpyArray(try archive.contents(entry), name: "\(path): \(name)")
            }
        }
        for (name, array) in arrays where !array.values.allSatisfy(\.isFinite) {
            throw fail("\(name) holds numbers that are not finite")
        }
        let matrices = arrays.filter { !["mu", "sigma"].contains($0.key) && $0.value.shape.count == 2 }
        let features = arrays["features"] ?? (matrices.count == 1 ? matrices.first?.value : nil)
        if let features,
            features.shape.count != 2 || features.shape[0] < 2 || !(1...Self.widest).contains(features.shape[1])
        {
            throw fail(
                "the features have the shape \(features.shape); they must be [pictures, width] of two pictures or more")
        }
        if let mu = arrays["mu"], let sigma = arrays["sigma"] {
            guard mu.shape.count == 1, (1...Self.widest).contains(mu.shape[0]),
                sigma.shape == [mu.shape[0], mu.shape[0]]
            else {
                throw fail(
                    "mu has the shape \(mu.shape) and sigma \(sigma.shape); they must be [width] and [width, width]")
            }
            mean = mu.values
            covariance = SquareMatrix(size: mu.shape[0], values: sigma.values)
        } else if let features {
            (mean, covariance) = Self.distribution(features.values, count: features.shape[0], width: features.shape[1])
        } else {
            let names = arrays.keys.sorted().joined(separator: ", ")
            throw fail("has neither mu and sigma nor features; its arrays are: \(names.isEmpty ? "none" : names)")
        }
        self.features = features?.values
        count = features?.shape[0]
        if let features, features.shape[1] != mean.count {
            throw fail("mu has \(mean.count) numbers, but the features are \(features.shape[1]) wide")
        }
    }

    /// - Parameters:
    ///   - path: What the set is called in messages.
    ///   - features: `[count, width]` of two pictures or more.
    init(_ path: String, features: [Double], count: Int) {
        precondition(count >= 2 && features.count.isMultiple(of: count))
        self.path = path
        self.features = features
        self.count = count
        (mean, covariance) = Self.distribution(features, count: count, width: features.count / count)
    }

    private static func distribution(
        _ features: [Double], count: Int, width: Int
    ) -> (mean: [Double], covariance: SquareMatrix) {
        var sums = [Double](repeating: 0, count: width)
        features.withUnsafeBufferPointer { features in
            for row in 0..<count { for column in 0..<width { sums[column] += features[row * width + column] } }
        }
        let mean = sums.map { $0 / Double(count) }
        return (mean, .covariance(features, rows: count, mean: mean))
    }
}
