import Foundation
import Testing
import TransfusionSupport
import _TestUtilities

@testable import TransfusionConfig

struct RunDirectoryTests {
    private let temporary: TemporaryDirectory
    private let directory: RunDirectory

    init() throws {
        temporary = try TemporaryDirectory()
        directory = RunDirectory(temporary.path + "/runs/one")
    }

    @Test func enteringMakesTheLayoutAndKeepsTheConfiguration() throws {
        let configuration = try RunConfiguration(yaml: minimal)
        try directory.enter(configuration)
        let names = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
        #expect(names == ["checkpoints", "events", "heartbeats", "logs", "run.yaml", "samples"])
        #expect(try RunConfiguration.load(directory.configuration) == configuration)
        try directory.enter(configuration)
    }

    @Test func anotherConfigurationIsRefusedWithWhatDiffers() throws {
        try directory.enter(RunConfiguration(yaml: minimal))
        let other = try RunConfiguration(
            yaml: minimal, overrides: ["seed=7", "optimizer.beta1=0.5", "schedule.steps=9000", "parallel.data=2"])
        let error = #expect(throws: RunDirectoryError.self) { try directory.enter(other) }
        let text = error?.description ?? ""
        #expect(text.contains("seed: 0 → 7; optimizer.beta1: 0.9 → 0.5); "))
        #expect(!text.contains("parallel.data") && !text.contains("\n"))
        #expect(try RunConfiguration.load(directory.configuration) == RunConfiguration(yaml: minimal))
    }

    @Test func keysThatChangeNoNumberMayChange() throws {
        try directory.enter(RunConfiguration(yaml: minimal))
        let other = try RunConfiguration(yaml: minimal, overrides: ["parallel.data=2", "checkpoint.keep.last=9"])
        try directory.enter(other)
        #expect(try RunConfiguration.load(directory.configuration) == other)
    }

    @Test func aRunMayBeRenamed() throws {
        try directory.enter(RunConfiguration(yaml: minimal, defaultName: "one"))
        try directory.enter(RunConfiguration(yaml: minimal, defaultName: "two"))
        #expect(try RunConfiguration.load(directory.configuration).name == "two")
    }

    @Test func oneJobAtATimeHasADirectory() throws {
        let first = RunClaim(directory), second = RunClaim(directory)
        try first.train(launch: nil)
        #expect(first.isHeld && first.findLoss() == nil)
        let refusal = #expect(throws: CommandFailure.self) { try second.train(launch: nil) }
        #expect(refusal?.code == .wrongUse)
        #expect(refusal?.description.contains("process \(getpid()) trains this run already") == true)
        #expect(throws: CommandFailure.self) { try RunClaim(directory).coordinate() }
        first.release()
        try RunClaim(directory).train(launch: nil)
    }

    @Test func ranksTrainBesideTheCoordinatorThatStartedThemAndOutliveIt() throws {
        try Directories.make(directory.path)
        let coordinator = RunClaim(directory), rank = RunClaim(directory)
        try coordinator.coordinate()
        try coordinator.announce("me")
        for launch in [nil, "you.1", "me"] {
            #expect(throws: CommandFailure.self) { try RunClaim(directory).train(launch: launch) }
        }
        try rank.train(launch: "me.1")
        coordinator.release()
        // Of this coordinator, and of no other, they are taken over.
        let stranger = RunClaim(directory)
        try stranger.coordinate()
        #expect(throws: CommandFailure.self) { try stranger.announce("you") }
        stranger.release()
        #expect(throws: CommandFailure.self) { try RunClaim(directory).train(launch: nil) }
        let next = RunClaim(directory)
        try next.coordinate()
        try next.announce("me")
        #expect(rank.findLoss() == nil)
        // Its next launch does not wait for a lock that a lost host keeps; the rank there would notice.
        let relaunched = RunClaim(directory)
        try relaunched.train(launch: "me.2")
        #expect(relaunched.findLoss() == nil)
        #expect(rank.findLoss()?.hasPrefix("another job has taken it") == true)
    }

    @Test func aDirectoryThatIsReplacedOrTakenIsLost() throws {
        let other = RunDirectory(temporary.path + "/runs/other")
        try other.enter(RunConfiguration(yaml: minimal))
        for (reason, change) in [
            ("another directory is in its place", { try FileManager.default.moveItem(atPath: other.path, toPath: $0) }),
            ("the directory was removed or renamed", { _ in }),
        ] as [(String, (String) throws -> Void)] {
            let claim = RunClaim(directory)
            try claim.train(launch: nil)
            try directory.enter(RunConfiguration(yaml: minimal))
            #expect(claim.findLoss() == nil && claim.isInPlace)
            try FileManager.default.moveItem(atPath: directory.path, toPath: "\(temporary.path)/\(UUID())")
            try change(directory.path)
            #expect(!claim.isInPlace && claim.findLoss() == reason && !claim.isHeld)
            #expect(claim.refuge?.path.hasPrefix(directory.path + ".lost-") == true)
            try? FileManager.default.removeItem(atPath: directory.path)
        }
        let claim = RunClaim(directory), joined = RunClaim(directory)
        try claim.train(launch: nil)
        try directory.enter(RunConfiguration(yaml: minimal))
        try joined.join()
        #expect(claim.findLoss() == nil && joined.findLoss() == nil)
        // As where locks do not hold for all hosts.
        let note = try String(contentsOfFile: directory.trainingLock, encoding: .utf8)
        let foreign = note.replacing("\(getpid())", with: "7").replacing("\"id\":\"", with: "\"id\":\"x")
        try foreign.write(toFile: directory.trainingLock, atomically: false, encoding: .utf8)
        #expect(claim.findLoss()?.hasPrefix("another job has taken it, process 7 on ") == true)
        #expect(joined.findLoss()?.hasPrefix("another job has taken it") == true)
    }

    /// A directory that is a file system of its own, and those in which batch systems leave the output of the job.
    @Test(arguments: ["lost+found", "slurm-12.out", "train.o345", "train.e345", "job.err", "run 1.log"])
    func whatIsNobodysWorkIsNoObstacle(_ name: String) throws {
        try FileManager.default.createDirectory(atPath: directory.path, withIntermediateDirectories: true)
        try Data().write(to: URL(filePath: directory.path + "/" + name))
        try directory.enter(RunConfiguration(yaml: minimal))
        #expect(FileManager.default.fileExists(atPath: directory.path + "/" + name))
    }

    @Test func directoriesOfOthersAreLeftAlone() throws {
        try FileManager.default.createDirectory(atPath: directory.path, withIntermediateDirectories: true)
        try Data().write(to: URL(filePath: directory.path + "/thesis.tex"))
        let foreign = #expect(throws: RunDirectoryError.self) { try directory.enter(RunConfiguration(yaml: minimal)) }
        #expect(foreign?.description.contains("it holds thesis.tex") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["thesis.tex"])

        let damaged = RunDirectory(temporary.path + "/damaged")
        try damaged.enter(RunConfiguration(yaml: minimal))
        try Data("seed: [".utf8).write(to: URL(filePath: damaged.configuration))
        let unreadable = #expect(throws: RunDirectoryError.self) { try damaged.enter(RunConfiguration(yaml: minimal)) }
        #expect(unreadable?.description.contains("is no valid configuration any more") == true)

        let file = RunDirectory(temporary.path + "/file")
        try Data().write(to: URL(filePath: file.path))
        #expect(throws: RunDirectoryError.self) { try file.enter(RunConfiguration(yaml: minimal)) }
    }

    @Test func failedWritesLeaveTheOldFile() throws {
        let path = temporary.path + "/a"
        try AtomicFile.write("old".utf8, to: path)
        try AtomicFile.write("new".utf8, to: path, durable: false)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "new")
        try FileManager.default.createDirectory(atPath: temporary.path + "/d/e", withIntermediateDirectories: true)
        let onDirectory = #expect(throws: FileFailure.self) { try AtomicFile.write([1], to: temporary.path + "/d") }
        #expect(onDirectory?.path == temporary.path + "/d")
        #expect(throws: FileFailure.self) { try AtomicFile.write([1], to: temporary.path + "/none/x") }
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path).sorted() == ["a", "d"])
    }
}
