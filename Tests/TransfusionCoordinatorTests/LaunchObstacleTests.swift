import Foundation
import Testing
import TransfusionConfig
import TransfusionSupport
import _TestUtilities

@testable import TransfusionCoordinator

@Suite struct LaunchObstacleTests {
    @Test func errorsOfTheSystemAreObstaclesThatPassOrNot() {
        func cause(_ code: Int32) -> FailureCause {
            errno = code
            return LaunchObstacle(FileFailure("write", "/r/logs/launch-0001.log")).cause
        }
        for code in [EIO, ESTALE, ETIMEDOUT, EMFILE, ENFILE, EAGAIN] {
            #expect(cause(code).prospect == .later && cause(code).kind == .unavailable)
        }
        for code in [ENOSPC, EDQUOT] { #expect(cause(code).prospect == .later && cause(code).kind == .noRoom) }
        #expect(cause(ENOENT).prospect == .again && cause(ENOENT).kind == .launch)
        #expect(cause(EIO).summary == "/r/logs/launch-0001.log: cannot write: Input/output error")
        #expect(cause(EIO).record?.file == "/r/logs/launch-0001.log")
    }

    @Test func aDirectoryForSessionsThatCannotBeUsedIsNamed() throws {
        let temporary = try TemporaryDirectory()
        #expect(LaunchObstacle.beforeLaunch(environment: ["TMPDIR": temporary.path]) == nil)
        #expect(LaunchObstacle.beforeLaunch(environment: ["TMPDIR": "", "TMP": temporary.path]) == nil)
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path).isEmpty)
        for (name, path) in [
            ("TMPDIR", "/proc"), ("TEMP", temporary.file("none")), ("OMPI_MCA_orte_tmpdir_base", "/dev/null"),
        ] {
            let obstacle = try #require(LaunchObstacle.beforeLaunch(environment: [name: path]))
            #expect(obstacle.cause.prospect == .never && obstacle.cause.exitCode == 2)
            #expect(obstacle.reason.hasPrefix("\(name)=\(path): ") && obstacle.reason.contains("set TMPDIR"))
        }
    }

    @Test func aLookTellsWhetherThereIsRoomAgain() throws {
        let temporary = try TemporaryDirectory()
        let run = temporary.file("run")
        try FileManager.default.createDirectory(atPath: run, withIntermediateDirectories: true)
        let record = FailureRecord(.noRoom, file: run + "/checkpoints/step-00000001.partial/rank-00000.shard")
        #expect(LaunchObstacle.remains(record, directory: run, bytes: 1 << 20) == nil)
        // More than any disk has.
        let remaining = LaunchObstacle.remains(record, directory: run, bytes: 1 << 60)
        #expect(remaining?.cause.kind == .noRoom && remaining?.reason.hasPrefix("\(run): ") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: run).isEmpty)
        // What nobody may write to says nothing.
        #expect(LaunchObstacle.remains(FailureRecord(.inputOutput, file: "/proc/x"), directory: run, bytes: 0) == nil)
    }
}
