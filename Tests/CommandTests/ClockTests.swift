import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// Nobody waits by a clock that people set.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(5))) struct ClockTests {
    /// A library that sets the time of day back by an hour for one process, a second after it began.
    private static let shim = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>
        static long begin;
        static long shift(void) {
            struct timespec t;
            syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
            if (begin == 0) begin = t.tv_sec;
            return t.tv_sec > begin + 1 ? 3600 : 0;
        }
        int clock_gettime(clockid_t clock, struct timespec *t) {
            int status = syscall(SYS_clock_gettime, clock, t);
            if (status == 0 && clock == CLOCK_REALTIME) t->tv_sec += shift();
            return status;
        }
        int gettimeofday(struct timeval *restrict t, void *restrict zone) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            t->tv_sec = now.tv_sec;
            t->tv_usec = now.tv_nsec / 1000;
            return 0;
        }
        time_t time(time_t *t) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (t) *t = now.tv_sec;
            return now.tv_sec;
        }
        """

    private static let compiler = try? Command.onPath("clang")

    /// To the kernel, which waits by its own clock, a process whose clock is ahead is like one whose clock was set back: its
    /// waits for a time of day last an hour too long.
    @Test(.enabled(if: ClockTests.compiler != nil)) func heartbeatsGoOnWhenTheClockIsSetBack() throws {
        let directory = try TemporaryDirectory(), dataset = try SmallDataset()
        let source = directory.file("shim.c"), library = directory.file("shim.so")
        try Self.shim.write(toFile: source, atomically: true, encoding: .utf8)
        let compiled = try #require(Self.compiler).run("-shared", "-fPIC", "-o", library, source)
        try #require(compiled.status == 0, "\(compiled.errors)")
        let run = try SupervisedRun("run", in: directory, dataset: dataset)
        try run.start(
            ["--set", "schedule.steps=1000000", "--set", "checkpoint.every_steps=off"],
            environment: ["LD_PRELOAD": library])
        _ = try run.wait("the first step") { $0.step > 0 && $0.ranks.count == 2 }
        // Twice as long as a silence may last.
        usleep(12_000_000)
        let status = try #require(run.status)
        #expect(
            status.state == .running && status.recoveries.isEmpty,
            "\(status.recoveries.map(\.cause.summary)); \(run.log)")
        #expect(status.ranks.allSatisfy { $0.heartbeatAge < 4 }, "\(status.ranks)")
        let ratio = try #require(status.effectiveTrainingTimeRatio)
        #expect(ratio > 0.05 && ratio <= 1, "an hour that never was counts for nothing")
        try run.stop(now: true)
        let end = try run.finish()
        #expect(end == 1, "\(run.log)")
    }

    @Test func noSourceWaitsForATimeOfDay() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Sources")
        let files = try #require(FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil))
        let waits = [
            "wait(timeout:", "wallDeadline", "wallTimeout", "DispatchWallTime", "DispatchSourceTimer", "asyncAfter",
            "Thread.sleep", "RunLoop", "NSCondition", "wait(until:", "sem_timedwait", "CLOCK_REALTIME",
            "pthread_mutex_timedlock", "mq_timedreceive",
        ]
        var found: [String] = []
        for case let file as URL in files where ["swift", "c", "h"].contains(file.pathExtension) {
            let text = try String(contentsOf: file, encoding: .utf8)
            for line in text.split(separator: "\n") {
                let code = line.split(separator: "//", omittingEmptySubsequences: false)[0]
                found += waits.filter { code.contains($0) }.map { "\(file.lastPathComponent): \($0)" }
                // Conditions wait by the time of day unless they were made for another clock.
                if code.contains("pthread_cond_timedwait"), !text.contains("pthread_condattr_setclock") {
                    found.append("\(file.lastPathComponent): pthread_cond_timedwait")
                }
            }
        }
        #expect(found == [])
    }
}
