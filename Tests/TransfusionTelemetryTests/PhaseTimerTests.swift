import Foundation
import Testing
import TransfusionConfig
import TransfusionSupport
import _TestUtilities

@testable import TransfusionTelemetry

struct PhaseTimerTests {
    @Test func everySecondIsCountedToOnePhase() {
        let timer = PhaseTimer()
        let before = ContinuousClock.now
        timer.begin(step: 7)
        #expect(timer.position.step == 7 && timer.position.phase == .compute)
        let result = timer.measure(.communication) {
            Thread.sleep(forTimeInterval: 0.02)
            timer.measure(.wait) {
                #expect(timer.position.phase == .wait)
                Thread.sleep(forTimeInterval: 0.02)
            }
            #expect(timer.position.phase == .communication)
            return 3
        }
        #expect(result == 3 && timer.position.phase == .compute)
        let seconds = timer.takeSeconds()
        #expect(seconds[.communication, default: 0] >= 0.02 && seconds[.wait, default: 0] >= 0.02)
        let elapsed = (ContinuousClock.now - before) / .seconds(1)
        let counted = [Phase.compute, .communication, .wait].reduce(0) { $0 + seconds[$1, default: 0] }
        #expect(counted <= elapsed)
        #expect(timer.takeSeconds()[.wait] == nil)
    }

    @Test func errorsLeaveThePhaseToo() {
        let timer = PhaseTimer()
        timer.begin(step: 1)
        #expect(throws: FileFailure.self) {
            try timer.measure(.data) { throw FileFailure("x", because: "is lost") }
        }
        #expect(timer.position.phase == .compute)
    }

    @Test(.timeLimit(.minutes(1))) func heartbeatsTellWhereARankIs() throws {
        let directory = try TemporaryDirectory()
        let timer = PhaseTimer()
        timer.begin(step: 41)
        timer.enter(.wait)
        let path = Heartbeat.file(rank: 12, in: directory.path)
        #expect(path.hasSuffix("/rank-00012.json"))
        let writer = HeartbeatWriter(directory: directory.path, rank: 12, timer: timer, every: .milliseconds(5)) {
            Issue.record("\($0)")
        }
        // The training thread does nothing from here on, as if it hung: the heartbeats must go on.
        func beat(after time: Double) throws -> Heartbeat {
            while true {
                if let beat = try? Heartbeat.read(path), beat.time > time { return beat }
                Thread.sleep(forTimeInterval: 0.002)
            }
        }
        let first = try beat(after: 0)
        let second = try beat(after: first.time)
        #expect(first.rank == 12 && first.step == 41 && first.phase == .wait && first.pid == getpid())
        #expect(!first.host.isEmpty && first.memoryBytes > 1 << 20)
        #expect(second.phaseSeconds > first.phaseSeconds)
        writer.finish()
        #expect(try Heartbeat.read(path).phase == .finished)

        try Data().write(to: URL(filePath: Heartbeat.file(rank: 13, in: directory.path)))
        try Data().write(to: URL(filePath: directory.path + "/notes.json"))
        Heartbeat.removeStale(in: directory.path, ranks: 13)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == [
                "notes.json", "rank-00012.json",
            ])
        #expect(throws: FileFailure.self) { try Heartbeat.read(directory.path + "/notes.json") }
    }

    @Test(.timeLimit(.minutes(1))) func heartbeatsThatCannotBeWrittenAreReportedOnce() async throws {
        let directory = try TemporaryDirectory()
        // No file takes the place of a directory.
        try FileManager.default.createDirectory(
            atPath: Heartbeat.file(rank: 0, in: directory.path), withIntermediateDirectories: false)
        let (failures, continuation) = AsyncStream.makeStream(of: FileFailure.self)
        let writer = HeartbeatWriter(
            directory: directory.path, rank: 0, timer: PhaseTimer(), every: .milliseconds(1)
        ) {
            continuation.yield($0)
        }
        var iterator = failures.makeAsyncIterator()
        #expect(await iterator.next()?.path.hasSuffix("/rank-00000.json") == true)
        try await Task.sleep(for: .milliseconds(30))
        writer.finish()
        continuation.finish()
        #expect(await iterator.next() == nil)
    }

    @Test func memoryIsWhatTheKernelSays() {
        #expect(ProcessMemory.residentBytes > 1 << 20)
        #expect(ProcessMemory.peakBytes >= ProcessMemory.residentBytes / 2)
    }
}
