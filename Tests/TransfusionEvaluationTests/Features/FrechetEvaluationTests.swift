import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import _TestUtilities

@testable import TransfusionEvaluation

struct FrechetEvaluationTests {
    private let directory: TemporaryDirectory
    private let expected: [String: Double]

    init() throws {
        directory = try TemporaryDirectory()
        let file = URL(filePath: Fixtures.path("features/expected.json"))
        expected = try JSONDecoder().decode([String: Double].self, from: Data(contentsOf: file))
    }

    private func value(_ name: String) throws -> Double { try #require(expected[name]) }

    private func compare(_ real: String, _ made: String) throws -> FrechetEvaluation.Report {
        try FrechetEvaluation(real: Fixtures.path("features/" + real), made: Fixtures.path("features/" + made)).run()
    }

    private func problem(_ path: String) -> String {
        do {
            _ = try FrechetEvaluation(real: path, made: Fixtures.path("features/b.npz")).run()
            return ""
        } catch {
            return "\(error)"
        }
    }

    /// Deflated and stored archives, an array of any name, and `.npy`.
    @Test(arguments: ["b.npz", "b.npy"]) func distancesOfFeaturesAgreeWithScipy(_ made: String) throws {
        let report = try compare("a.npz", made)
        #expect(abs(report.frechetDistance / (try value("frechet_distance")) - 1) < 1e-8)
        #expect(abs(try #require(report.kernelDistance) / (try value("kid")) - 1) < 1e-9)
        #expect(report.kernelDistanceDeviation == 0)
        let shares = (precision: try value("precision"), recall: try value("recall"))
        #expect(report.precision == shares.precision && report.recall == shares.recall)
        #expect(report.width == 16 && report.realCount == 60 && report.madeCount == 60)
    }

    /// The covariances are in Fortran's order, in one archive deflated.
    @Test func statisticsAloneGiveTheFrechetDistance() throws {
        let report = try compare("a-statistics.npz", "b-statistics.npz")
        #expect(abs(report.frechetDistance / (try value("frechet_distance")) - 1) < 1e-8)
        #expect(report.kernelDistance == nil && report.precision == nil && report.realCount == nil)
        #expect(abs(try compare("a-statistics.npz", "b.npz").frechetDistance - report.frechetDistance) < 1e-9)
    }

    @Test func aSingularCovarianceIsNoObstacle() throws {
        // scipy's root of a singular matrix is good to a few digits only.
        let report = try compare("a.npz", "few.npz")
        #expect(abs(report.frechetDistance / (try value("frechet_distance_few")) - 1) < 1e-5)
        #expect(try compare("a.npz", "a.npz").frechetDistance.magnitude < 1e-9)
    }

    /// With fewer pictures in a subset the mean stays about the same, and equal seeds give equal subsets.
    @Test func subsetsAreChosenBySeed() throws {
        var evaluation = FrechetEvaluation(
            real: Fixtures.path("features/a.npz"), made: Fixtures.path("features/b.npz"))
        evaluation.subsetSize = 30
        let first = try evaluation.run()
        #expect(try evaluation.run() == first)
        evaluation.seed = 1
        #expect(try evaluation.run().kernelDistance != first.kernelDistance)
        let deviation = try #require(first.kernelDistanceDeviation)
        #expect(deviation > 0)
        // The mean of 100 subsets lies within a few of its own deviations of the whole.
        #expect(abs(try #require(first.kernelDistance) - (try value("kid"))) < deviation)
    }

    @Test func whatCannotBeComparedIsSaid() throws {
        #expect(problem(directory.path).contains("give the network that found the features"))
        #expect(problem("/no/such/file").contains("/no/such/file"))
        let wide = directory.file("wide.npy")
        try npy("'<f4'", "(2, 3)", [UInt8](repeating: 0, count: 24)).write(to: URL(filePath: wide))
        #expect(problem(wide).contains("b.npz: its features are 16 wide, those of"))
    }

    private func npy(_ type: String, _ shape: String, _ values: [UInt8], order: String = "False") -> Data {
        let header = "{'descr': \(type), 'fortran_order': \(order), 'shape': \(shape), }\n"
        let count = UInt16(header.utf8.count)
        let bytes = [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(count & 255), UInt8(count >> 8)]
        return Data(bytes + Array(header.utf8) + values)
    }

    @Test func damagedArraysAreRefused() throws {
        let path = directory.file("x.npy")
        for (type, shape, count, hint) in [
            ("'<f4'", "(2, 3)", 23, "has 23 bytes for the shape (2, 3)"), ("'>f8'", "(2, 3)", 48, "type >f8"),
            ("'<f4'", "(6,)", 24, "must be [pictures, width]"), ("'<f4'", "(-2, 3)", 24, "has the shape (-2, 3)"),
            ("'<f4'", "(9223372036854775807, 9)", 0, "has the shape"), ("'|O'", "(2, 3)", 0, "type |O"),
            ("'<f4'", "(1, 6)", 24, "of two pictures or more"), ("<f4", "(2, 3)", 24, "header that cannot be read"),
        ] {
            try npy(type, shape, [UInt8](repeating: 0, count: count)).write(to: URL(filePath: path))
            #expect(problem(path).contains(hint), "\(problem(path))")
        }
        try npy("'<f4'", "(2, 1)", [0, 0, 0xC0, 0x7F, 0, 0, 0, 0]).write(to: URL(filePath: path))
        #expect(problem(path).contains("features holds numbers that are not finite"))
        try Data("\u{93}NUMPY".utf8).write(to: URL(filePath: path))
        #expect(problem(path).contains("is no array of numpy"))
    }

    /// Every way to shorten an archive, and every changed byte, ends in a line or in the right numbers.
    @Test func damagedArchivesAreRefused() throws {
        let whole = try [UInt8](Data(contentsOf: URL(filePath: Fixtures.path("features/a.npz"))))
        let path = directory.file("damaged.npz")
        for end in stride(from: 0, to: whole.count, by: 97) {
            try Data(whole[..<end]).write(to: URL(filePath: path))
            #expect(problem(path).contains("is no .npz archive"))
        }
        let right = try compare("a.npz", "b.npz")
        for place in Array(0..<80) + Array((whole.count - 140)..<whole.count) + [1000, 2000] {
            var bytes = whole
            bytes[place] ^= 0x41
            try Data(bytes).write(to: URL(filePath: path))
            let found = try? FrechetEvaluation(real: path, made: Fixtures.path("features/b.npz")).run()
            #expect(found == nil || found == right, "byte \(place)")
        }
    }
}
