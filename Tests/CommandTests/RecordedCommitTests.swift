import Foundation
import Testing
import TransfusionSupport
import _TestUtilities

/// The script that says before each build which commit the sources are.
@Suite struct RecordedCommitTests {
    private static let root = URL(filePath: #filePath).pathComponents.dropLast(3).joined(separator: "/").dropFirst()
    private let script = "\(root)/Plugins/RecordCommit/record-commit.sh"
    private let temporary: TemporaryDirectory

    init() throws {
        temporary = try TemporaryDirectory()
        let sources = temporary.file("sources")
        try FileManager.default.createDirectory(atPath: sources + "/Sources", withIntermediateDirectories: true)
        try "one".write(toFile: sources + "/Sources/a.swift", atomically: true, encoding: .utf8)
        for name in [".git_archival.txt", ".gitattributes"] {
            try FileManager.default.copyItem(atPath: "\(Self.root)/\(name)", toPath: "\(sources)/\(name)")
        }
        try git("init", "--quiet")
        try git("add", ".")
        try git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "a")
    }

    @discardableResult private func git(_ arguments: String...) throws -> String {
        let result = try Command.onPath("git").run(["-C", temporary.file("sources")] + arguments)
        try #require(result.status == 0, "\(result)")
        return result.output.trimmingCharacters(in: .newlines)
    }

    private func commit(_ directory: String) throws -> String {
        let result = try Command(path: "/bin/sh").run(script, directory)
        try #require(result.status == 0 && result.errors.isEmpty, "\(result)")
        return result.output.trimmingCharacters(in: .newlines)
    }

    @Test func aCloneHasItsCommitAndSaysThatItWasModified() throws {
        let sources = temporary.file("sources")
        let hash = try git("rev-parse", "--short=12", "HEAD")
        #expect(try commit(sources) == hash)
        try "notes".write(toFile: sources + "/notes", atomically: true, encoding: .utf8)
        #expect(try commit(sources) == hash, "what is not built does not count")
        try "two".write(toFile: sources + "/Sources/b.swift", atomically: true, encoding: .utf8)
        #expect(try commit(sources) == hash + ".modified")
    }

    @Test func anArchiveHasItsCommitAlsoWithinAnotherClone() throws {
        // Below the clone of another project, as where a package is built.
        let unpacked = temporary.file("sources/unpacked")
        try FileManager.default.createDirectory(atPath: unpacked, withIntermediateDirectories: true)
        let archive = temporary.file("archive.tar")
        try git("archive", "--output", archive, "HEAD")
        let tar = try Command.onPath("tar").run("-xf", archive, "-C", unpacked)
        #expect(tar.status == 0, "\(tar)")
        #expect(try commit(unpacked) == git("rev-parse", "--short=12", "HEAD"))
        try FileManager.default.removeItem(atPath: unpacked + "/.git_archival.txt")
        #expect(try commit(unpacked) == "", "not known, and not that of the other project")
    }

    @Test func theFileIsWrittenOnlyWhenItWouldDiffer() throws {
        let file = temporary.file("Commit.swift"), swiftc = try Command.onPath("swiftc").path
        func write() throws -> Date? {
            let result = try Command(path: "/bin/sh").run(script, temporary.file("sources"), file, swiftc)
            try #require(result.status == 0, "\(result)")
            return try FileManager.default.attributesOfItem(atPath: file)[.modificationDate] as? Date
        }
        let first = try write()
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(text.contains("commit: StaticString = \"\(try git("rev-parse", "--short=12", "HEAD"))\""), "\(text)")
        #expect(try write() == first)
        try "two".write(toFile: temporary.file("sources/Sources/b.swift"), atomically: true, encoding: .utf8)
        _ = try write()
        #expect(try String(contentsOfFile: file, encoding: .utf8).contains(".modified\""))
    }
}
