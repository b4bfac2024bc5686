import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import TransfusionParallel
import _TestUtilities

@testable import TransfusionEvaluation

/// Pictures in folders, and Inception v3 with weights of a formula, beside what pytorch-fid and clean-fid find
/// (`Tests/Fixtures/inception.py`).
@Suite(.serialized) struct InceptionFeaturesTests {
    private struct Expected: Decodable {
        /// Every sixteenth feature of pictures 0 … 15.
        let features: [[Double]]
        let frechetDistance: Double
        let kid: Double

        enum CodingKeys: String, CodingKey {
            case features, kid
            case frechetDistance = "frechet_distance"
        }
    }

    private let directory: TemporaryDirectory
    private let expected: [String: Expected]

    init() throws {
        directory = try TemporaryDirectory()
        let file = URL(filePath: Fixtures.path("features/inception.json"))
        expected = try JSONDecoder().decode([String: Expected].self, from: Data(contentsOf: file))
    }

    private static func picture(_ index: Int) -> Picture {
        let height = 20 + 37 * (index % 8), width = 31 + 45 * (index * 3 % 8)
        var rgb: [UInt8] = []
        rgb.reserveCapacity(height * width * 3)
        for y in 0..<height {
            for x in 0..<width {
                let value = y * (3 + index) + x * (5 + 2 * index) + x * y % (7 + index) * 11
                for c in 0..<3 { rgb.append(UInt8(((value + c * 40) & 255) / (index < 8 ? 1 : 3))) }
            }
        }
        return Picture(width: width, height: height, rgb: rgb)
    }

    private func folder(_ name: String, _ pictures: Range<Int>) throws -> String {
        let folder = directory.file(name)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for index in pictures {
            let picture = Self.picture(index)
            let png = try PNG.encode(rgb: picture.rgb, width: picture.width, height: picture.height)
            try Data(png).write(to: URL(filePath: folder + "/\(100 + index).png"))
        }
        return folder
    }

    private static let table: [Double] = (1...4099).map { place in
        var x = UInt32(place) &* 2_654_435_761
        x = (x ^ (x >> 16)) &* 2_246_822_519
        x = (x ^ (x >> 13)) &* 3_266_489_917
        return Double(x ^ (x >> 16)) / 0x1p31 - 1
    }

    private static func values(_ name: String, _ shape: [Int]) -> [Float] {
        let hash = name.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
        let isScale = name.hasSuffix("bn.weight") || name.hasSuffix("running_var")
        let factor = shape.count == 1 ? 0.2 : (3.5 / Double(shape.dropFirst().reduce(1, *))).squareRoot()
        let numbers = table.map { Float(isScale ? 1 + 0.5 * $0 : $0 * factor) }
        let start = Int(hash) % table.count, count = shape.reduce(1, *)
        var values: [Float] = []
        values.reserveCapacity(count + table.count)
        values += numbers[start...]
        while values.count < count { values += numbers }
        return Array(values[..<count])
    }

    /// - Parameter changed: Gives a tensor another shape, or takes it away by nil.
    private func weights(_ changed: (name: String, shape: [Int]?)? = nil) throws -> String {
        let path = directory.file("inception.safetensors")
        let shapes = InceptionNetwork.convolutions.flatMap { name, shape in
            [("\(name).conv.weight", shape)]
                + ["weight", "bias", "running_mean", "running_var"].map { ("\(name).bn.\($0)", [shape[0]]) }
        }
        let tensors = shapes.compactMap { name, shape -> SafetensorsTensor? in
            guard name == changed?.name else { return SafetensorsTensor(name, .f32, shape, Self.values(name, shape)) }
            return changed?.shape.map { SafetensorsTensor(name, .f32, $0, Self.values(name, $0)) }
        }
        try SafetensorsWriter().write(tensors, to: path)
        return path
    }

    private func problem(_ run: () throws -> Void) -> String {
        do {
            try run()
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test(.timeLimit(.minutes(10))) func distancesOfFoldersAgreeWithTheToolsThatPeopleUse() throws {
        let weights = try weights()
        var evaluation = FrechetEvaluation(real: try folder("real", 0..<8), made: try folder("made", 8..<16))
        evaluation.weights = weights
        for variant in InceptionFeatures.Variant.allCases {
            let expected = try #require(expected[variant.rawValue])
            evaluation.variant = variant
            let network = try InceptionFeatures(weights: weights, variant, threads: nil, ranksOnHost: 1)
            for index in [0, 7] {
                let features = try network.features(of: [Self.picture(index)])
                for (place, value) in expected.features[index].enumerated() {
                    #expect(abs(Double(features[16 * place]) - value) < 1e-4 * max(1, value), "\(variant) \(place)")
                }
            }
            let report = try evaluation.run()
            #expect(abs(report.frechetDistance / expected.frechetDistance - 1) < 1e-4)
            #expect(abs(try #require(report.kernelDistance) / expected.kid - 1) < 1e-4)
            #expect(report.width == 2048 && report.realCount == 8 && report.madeCount == 8)
            #expect(report.network == "Inception v3 of \(weights)" && report.variant == variant)
        }
        // Three ranks share the pictures out and find the same bits.
        let alone = try evaluation.run(), shared = evaluation
        let ranks = try ThreadGroup.run(ranks: 3) { try shared.run($0, ranksOnHost: 3) }
        #expect(ranks == [alone, nil, nil])
    }

    @Test(.timeLimit(.minutes(5))) func withoutWeightsTheNetworkIsRandomAndAlwaysTheSame() throws {
        let real = try folder("real", 0..<3)
        let other = try FrechetEvaluation(real: real, made: try folder("made", 8..<11)).run()
        #expect(other.network == "Inception v3 with random weights")
        #expect(other.frechetDistance > 0 && other.frechetDistance.isFinite)
        let same = try FrechetEvaluation(real: real, made: real).run()
        #expect(abs(same.frechetDistance) < 1e-4 * other.frechetDistance)
    }

    @Test(.timeLimit(.minutes(5))) func theWeightsOfAnotherNetworkAreRefusedByTensor() throws {
        func load(_ path: String) -> String {
            problem { _ = try InceptionFeatures(weights: path, .pytorch, threads: 1, ranksOnHost: 1) }
        }
        #expect(
            load(try weights(("Mixed_5b.branch_pool.conv.weight", [64, 192, 1, 1])))
                .contains("tensor Mixed_5b.branch_pool.conv.weight has the shape [64, 192, 1, 1], not [32, 192, 1, 1]"))
        #expect(
            load(try weights(("Mixed_7c.branch1x1.bn.bias", nil))).contains(
                "it has no tensor Mixed_7c.branch1x1.bn.bias"))
        #expect(load(Fixtures.path("texts/model.safetensors")).contains("is not the Inception v3 of pytorch-fid"))
        #expect(load("/no/such.pth").contains("/no/such.pth"))
        #expect(load(directory.path + "/x.onnx").contains("is no file of weights"))
    }

    @Test func foldersThatCannotBeComparedAreALineEach() throws {
        let one = try folder("one", 0..<1), statistics = Fixtures.path("features/a.npz")
        func compare(_ real: String, _ made: String, weights: String? = nil) -> String {
            var evaluation = FrechetEvaluation(real: real, made: made)
            evaluation.weights = weights
            return problem { _ = try evaluation.run() }
        }
        #expect(compare(one, one) == "\(one): has 1 pictures (.png, .jpg, .webp, .gif); 2 to 200000 are needed")
        #expect(
            compare(try folder("two", 0..<2), statistics).contains("give the network that found the features"))
        #expect(
            compare(statistics, statistics, weights: "x.pth").contains("both sets are files that have features already")
        )
        let broken = try folder("broken", 0..<2)
        try Data("no picture".utf8).write(to: URL(filePath: broken + "/200.png"))
        #expect(compare(broken, broken).contains("\(broken)/200.png: is no PNG, JPEG, WebP or GIF picture"))
    }
}
