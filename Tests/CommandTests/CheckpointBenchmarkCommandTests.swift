import Foundation
import Testing
import _TestUtilities

/// `tf-bench checkpoint` as a process. What it finds is the machine's affair; that it measures and cleans up is ours.
@Suite struct CheckpointBenchmarkCommandTests {
    private let command = Command("tf-bench")
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func run(_ arguments: String...) throws -> Command.Result {
        try command.run(
            ["checkpoint", "--model", "tiny", "--vocabulary", "300", "--directory", directory.path] + arguments)
    }

    @Test func measuresAndCleansUp() throws {
        let other = #"echo talk; echo '{"ways": {"other": {"bytes": 1000, "write_s": 0.5, "read_s": 0.25}}}'"#
        let result = try run("--repetitions", "1", "--json", "--against", other)
        #expect(result.status == 0, "\(result.errors)")
        let report = try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let measurement = try #require(report["checkpoint"] as? [String: Any])
        let bytes = try #require(measurement["tensorBytes"] as? Int)
        #expect(bytes % 12 == 0 && bytes > 30_000_000)
        for key in ["copySeconds", "stallSeconds", "writeSeconds", "plainWriteSeconds", "readSeconds"] {
            #expect(try #require(measurement[key] as? Double) > 0, "\(key)")
        }
        let compressed = try #require(measurement["compressedBytes"] as? Int)
        #expect(compressed > bytes / 2 && compressed < bytes)
        let way = try #require((report["against"] as? [String: Any])?["other"] as? [String: Double])
        #expect(way == ["bytes": 1000, "write_s": 0.5, "read_s": 0.25])
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }

    @Test func wrongUseIsOneLine() throws {
        for (arguments, code, hint) in [
            (["--repetitions", "0"], 2, "--repetitions"), (["--vocabulary", "2"], 2, "--vocabulary"),
            (["--directory", "/no/such/place"], 1, "/no/such/place"),
            (["--against", "echo no json"], 2, "no JSON line with ways"),
        ] as [([String], Int32, String)] {
            let result = try command.run(["checkpoint", "--model", "tiny", "--directory", directory.path] + arguments)
            #expect(result.status == code && result.errors.contains(hint), "\(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }
}
