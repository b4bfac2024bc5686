import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels

/// Inception v3, which finds features in pictures.
public struct InceptionFeatures {
    /// How pictures come to the network's size; distances of different ones do not compare.
    public enum Variant: String, CaseIterable, Sendable, Encodable {
        /// As in pytorch-fid: bilinear, which aliases when pictures shrink.
        case pytorch
        /// As in clean-fid: bicubic with antialiasing.
        case clean
    }

    /// What the features are called in reports.
    let name: String
    let variant: Variant
    private let network: InceptionNetwork
    private let context: Context

    private static let norms = ["weight", "bias", "running_mean", "running_var"]

    /// - Parameter weights: As pytorch-fid distributes them, `.pth` or `.safetensors`; nil draws weights that are always the same.
    /// - Throws: `CheckpointError` that names the tensor which shows that the file is of another network.
    init(weights path: String?, _ variant: Variant, threads: Int?, ranksOnHost: Int) throws {
        context = Context(
            pool: ThreadPool(threads: threads ?? max(1, CPUReport().cpuCount / max(1, ranksOnHost))), type: .f32)
        network = InceptionNetwork(context)
        self.variant = variant
        guard let path else {
            name = "Inception v3 with random weights"
            network.parameters.initialize(seed: 0)
            return
        }
        name = "Inception v3 of \(path)"
        try Self.load(try NetworkWeights(path), into: network.parameters)
    }

    private static func load(_ weights: NetworkWeights, into store: ParameterStore) throws {
        let convolutions = InceptionNetwork.convolutions
        try weights.require(
            convolutions.flatMap { name, shape in
                [(name + ".conv.weight", shape)] + norms.map { ("\(name).bn.\($0)", [shape[0]]) }
            }, of: "the Inception v3 of pytorch-fid")
        for (name, _) in convolutions {
            guard let weight = store[name + ".conv.weight"], let bias = store[name + ".conv.bias"] else {
                preconditionFailure("the network has no convolution \(name)")
            }
            let norm = try norms.map { try weights.floats("\(name).bn.\($0)").map(Double.init) }
            let scales = zip(norm[0], norm[3]).map { $0 / ($1 + InceptionNetwork.normEpsilon).squareRoot() }
            guard scales.allSatisfy(\.isFinite) else {
                throw CheckpointError(weights.path, "tensor \(name).bn.running_var holds negative variances")
            }
            var values = try weights.floats(name + ".conv.weight")
            let row = values.count / scales.count
            values.withUnsafeMutableBufferPointer { values in
                for (output, scale) in scales.enumerated() {
                    let factor = Float(scale)
                    for index in output * row..<(output + 1) * row { values[index] *= factor }
                }
                weight.writeMaster(UnsafeBufferPointer(values), at: 0)
            }
            let shifts = scales.indices.map { Float(norm[1][$0] - norm[2][$0] * scales[$0]) }
            shifts.withUnsafeBufferPointer { bias.writeMaster($0, at: 0) }
        }
    }

    /// The features of all pictures of a folder. All ranks share the work; only rank 0 gets them.
    func features(of list: PictureList, _ group: any Collectives) throws -> FeatureSet? {
        let count = list.files.count
        let groups = list.files.indices.groupsOfPictures
        var own: [Float] = []
        var line = ProgressLine("features of \(list.folder)", total: group.rank == 0 ? count : 0)
        try group.agree("finding features") {
            for number in stride(from: group.rank, to: groups.count, by: group.size) {
                if group.rank == 0 { line.update(groups[number].lowerBound) }
                own += try features(of: try groups[number].map { try list.picture($0) })
            }
        }
        line.clear()
        let messages = try group.gather(own.withUnsafeBytes { [UInt8]($0) }, root: 0, site: "features")
        guard group.rank == 0 else { return nil }
        var all = [Double](repeating: 0, count: count * InceptionNetwork.width)
        for (rank, message) in messages.enumerated() {
            message.withUnsafeBytes { bytes in
                let values = bytes.bindMemory(to: Float.self)
                var place = 0
                for number in stride(from: rank, to: groups.count, by: messages.count) {
                    let start = groups[number].lowerBound * InceptionNetwork.width
                    let length = groups[number].count * InceptionNetwork.width
                    for index in 0..<length { all[start + index] = Double(values[place + index]) }
                    place += length
                }
            }
        }
        guard all.allSatisfy(\.isFinite) else {
            throw CommandFailure("\(list.folder): \(name) finds numbers that are not finite; its weights are damaged")
        }
        return FeatureSet(list.folder, features: all, count: count)
    }

    /// - Returns: `[pictures, 2048]`.
    func features(of pictures: [Picture]) throws -> [Float] {
        let side = InceptionNetwork.side, size = side * side * 3
        let input = Tensor([pictures.count, side, side, 3], .f32, allocator: context.allocator)
        for (place, picture) in pictures.enumerated() {
            let numbers = picture.resizedNumbers(
                width: side, height: side, variant == .clean ? .antialiased : .bilinear)
            let part = UnsafeMutableBufferPointer(rebasing: input.f32[place * size..<(place + 1) * size])
            for index in 0..<size {
                part[index] =
                    variant == .clean ? (numbers[index] - 128) / 128 : 2 * (numbers[index] / 255) - 1
            }
        }
        return network.features(of: input, context).floats()
    }
}
