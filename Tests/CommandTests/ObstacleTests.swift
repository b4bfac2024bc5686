import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// Runs under tf-coord that cannot be launched, or cannot save, for a while or for good: nobody tries again what cannot
/// help, and nothing is lost that can wait.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct ObstacleTests {
    private let temporary: TemporaryDirectory
    private let dataset: SmallDataset

    init() throws {
        temporary = try TemporaryDirectory()
        dataset = try SmallDataset()
    }

    private func run(_ more: String...) throws -> SupervisedRun {
        let run = try SupervisedRun("run", in: temporary, dataset: dataset)
        try run.start(
            ["--set", "schedule.steps=60", "--set", "supervision.restarts=2"] + more.flatMap { ["--set", $0] })
        return run
    }

    private func launches(_ run: SupervisedRun) -> Int {
        ((try? FileManager.default.contentsOfDirectory(atPath: run.directory + "/logs")) ?? []).count
    }

    /// An mpirun that fails although all ranks have left in good order: it may see the end of a process before it hears that
    /// this has left MPI.
    @Test(arguments: [false, true]) func ranksThatLeftInGoodOrderHaveNotFailed(_ stops: Bool) throws {
        let programs = temporary.file("bin"), program = programs + "/mpirun"
        try FileManager.default.createDirectory(atPath: programs, withIntermediateDirectories: true)
        try "#!/bin/sh\n'\(Command.onPath("mpirun").path)' \"$@\"\nexit 1\n"
            .write(toFile: program, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
        let run = try SupervisedRun("run", in: temporary, dataset: dataset)
        try run.start(environment: ["PATH": programs + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "")])
        if stops {
            _ = try run.wait("it trains") { $0.state == .running && $0.step > 20 }
            try run.stop(now: false)
        }
        #expect(try run.finish() == (stops ? 85 : 0), "\(run.log)")
        let status = try #require(run.status)
        #expect(status.state == (stops ? .stopped : .done) && status.recoveries.isEmpty, "\(run.log)")
        #expect(launches(run) == 1 && run.processes == [])
    }

    @Test(.enabled(if: SmallDisk.isPossible), arguments: ["3600", "0"])
    func aDiskThatIsFullAtTheLastSaveIsWaitedFor(_ waitToSave: String) throws {
        let disk = try SmallDisk(at: temporary.path, megabytes: 32)
        defer { withExtendedLifetime(disk) {} }
        let steps = SupervisedRun.steps
        let run = try run("checkpoint.wait_to_save=\(waitToSave)", "schedule.steps=\(steps)")
        _ = try run.wait("a checkpoint") { $0.lastCheckpoint != nil }
        // Again, as a save that fails gives back what it had taken.
        for _ in 0..<5 {
            try disk.fill()
            usleep(200_000)
        }
        let status = try run.wait("the full disk") { status in
            status.state == (waitToSave == "0" ? .waiting : .saving)
                && status.warnings.contains {
                    waitToSave == "0" ? $0.hasPrefix("waiting for") : $0.contains("last step in memory")
                }
        }
        if waitToSave == "0" {
            #expect(status.obstacle?.cause.kind == .noRoom && launches(run) == 1)
            // No launch can help before there is room.
            _ = try run.wait("the second look") { ($0.obstacle?.tries ?? 0) > 2 }
            #expect(launches(run) == 1)
        }
        try disk.empty()
        #expect(try run.finish() == 0, "\(run.log)")
        let last = try #require(run.status)
        #expect(
            last.state == .done && last.restarts.isEmpty && last.obstacle == nil && last.lastCheckpoint?.step == steps)
        #expect(launches(run) == (waitToSave == "0" ? 2 : 1))
        #expect(last.recoveries.count == launches(run) - 1, "\(last.recoveries)")
    }

    @Test(.enabled(if: SmallDisk.isPossible)) func aLaunchWhoseLogHasNoRoomIsMadeLater() throws {
        let disk = try SmallDisk(at: temporary.path, megabytes: 64)
        defer { withExtendedLifetime(disk) {} }
        let run = try run("schedule.steps=1000000", "checkpoint.every_steps=1000000")
        let before = try run.wait("the first step") { $0.step > 0 && $0.ranks.count == 2 }
        // A launch removes old heartbeats first, which would give names back, and ranks that are stopped renew none.
        for rank in before.ranks { kill(rank.pid, SIGSTOP) }
        let heartbeats = run.directory + "/heartbeats"
        for name in try FileManager.default.contentsOfDirectory(atPath: heartbeats) { unlink(heartbeats + "/" + name) }
        // A file that was just being written gives a name back, too, and the coordinator writes one after the other.
        try disk.takeAllNames()
        _ = try run.wait("a file that cannot be written") { _ in run.log.contains("status.json: cannot write") }
        try disk.takeAllNames()
        kill(before.ranks[0].pid, SIGKILL)
        let status = try run.wait("the obstacle") { $0.state == .waiting }
        #expect(status.obstacle?.cause.kind == .noRoom && launches(run) == 1, "\(status)")
        #expect(status.restarts.count == 1, "the kill is one, the wait is none")
        try disk.empty()
        _ = try run.wait("the second launch") { $0.state == .running && $0.ranks.count == 2 && $0.step > 0 }
        #expect(launches(run) == 2)
        try run.stop(now: true)
        #expect(try run.finish() == 1, "\(run.log)")
    }

    @Test func aKeyThatOpensNothingIsTriedOnce() throws {
        let key = temporary.file("key")
        try String(repeating: "7a", count: 32).write(toFile: key, atomically: true, encoding: .utf8)
        let first = try run("checkpoint.encryption_key_file=\(key)", "checkpoint.every_steps=20")
        #expect(try first.finish() == 0, "\(first.log)")
        let name = "/checkpoints/step-00000060"
        for (text, message) in [(String(repeating: "7b", count: 32), "another key"), ("no key", "holds no key")] {
            let before = launches(first)
            try text.write(toFile: key, atomically: true, encoding: .utf8)
            let second = try run(
                "checkpoint.encryption_key_file=\(key)", "checkpoint.every_steps=20")
            #expect(try second.finish() == 2, "\(second.log)")
            #expect(launches(second) - before == 1)
            #expect(second.status?.exit?.reason.contains(message) == true, "\(String(describing: second.status?.exit))")
            #expect(FileManager.default.fileExists(atPath: second.directory + name), "it may be good")
        }
    }

    @Test func noLaunchIsTriedWhereMPIRunHasNoPlaceForItsSession() throws {
        let run = try SupervisedRun("run", in: temporary, dataset: dataset)
        try run.start(environment: ["TMPDIR": "/proc"])
        #expect(try run.finish() == 2, "\(run.log)")
        #expect(launches(run) == 0)
        let status = try #require(run.status)
        #expect(status.state == .failed && status.restarts.isEmpty)
        #expect(
            status.exit?.reason.hasPrefix("TMPDIR=/proc: mpirun cannot make the directory of its session there") == true
        )
    }
}

/// A file system of its own in a directory, with little room. Removed with the value.
private final class SmallDisk {
    private let path: String
    private let filler: String

    static let isPossible: Bool = {
        guard geteuid() == 0, let temporary = try? TemporaryDirectory() else { return false }
        return (try? SmallDisk(at: temporary.path, megabytes: 1)) != nil
    }()

    init(at path: String, megabytes: Int) throws {
        self.path = path
        filler = path + "/filler"
        let mounted = try Command.onPath("mount").run(
            "-t", "tmpfs", "-o", "size=\(megabytes)m,nr_inodes=2000", "tmpfs", path)
        guard mounted.status == 0 else { throw CocoaError(.featureUnsupported) }
    }

    deinit { _ = try? Command.onPath("umount").run("--lazy", path) }

    func fill() throws {
        let result = try Command(path: "/bin/sh").run("-c", "cat /dev/zero >> '\(filler)'; true")
        guard result.errors.contains("No space left") else { throw Problem("the disk is not full: \(result.errors)") }
    }

    /// Leaves room, but none for the name of another file.
    func takeAllNames() throws {
        mkdir(filler, 0o755)
        var number = 0
        while case let descriptor = open("\(filler)/\(number)", O_WRONLY | O_CREAT, 0o600), descriptor >= 0 {
            close(descriptor)
            number += 1
        }
        guard errno == ENOSPC else { throw Problem("names are left") }
    }

    func empty() throws { try FileManager.default.removeItem(atPath: filler) }
}
