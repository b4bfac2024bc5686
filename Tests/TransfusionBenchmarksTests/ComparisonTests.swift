import Foundation
import Testing
import TransfusionConfig

@testable import TransfusionBenchmarks

@Suite struct ComparisonTests {
    @Test func waysAreComparedByTheirMedians() throws {
        let runs = try [3.0, 1, 2].map { seconds in
            let program = BaselineProgram(
                #"echo talk; echo '{"ways": {"a": {"bytes": 8, "write_s": \#(seconds), "read_s": 1}}}'"#,
                printing: "ways")
            return try program.run() as CheckpointComparison
        }
        let way = try #require(CheckpointComparison.medians(runs)["a"])
        #expect(way.bytes == 8 && way.writeSeconds == 2 && way.readSeconds == 1)
        #expect(CheckpointComparison.medians([]).isEmpty)
    }

    @Test func aProgramThatSaysNothingIsNamed() {
        #expect(throws: CommandFailure("'echo no' ended with 0 and no JSON line with ways", .wrongUse)) {
            _ = try BaselineProgram("echo no", printing: "ways").run() as CheckpointComparison
        }
    }
}
