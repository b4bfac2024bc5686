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
            yaml: minimal, overrides: ["seed=7", "schedule.steps=9000", "parallel.data=2"])
        let error = #expect(throws: RunDirectoryError.self) { try directory.enter(other) }
        let text = error?.description ?? ""
        #expect(text.contains("seed: 0 → 7; schedule.steps: 2000 → 9000)"))
        #expect(!text.contains("parallel.data") && !text.contains("\n"))
        #expect(try RunConfiguration.load(directory.configuration) == RunConfiguration(yaml: minimal))
    }

    @Test func keysThatChangeNoNumberMayChange() throws {
        try directory.enter(RunConfiguration(yaml: minimal))
        let other = try RunConfiguration(yaml: minimal, overrides: ["parallel.data=2", "checkpoint.keep.last=9"])
        try directory.enter(other)
        #expect(try RunConfiguration.load(directory.configuration) == other)
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
