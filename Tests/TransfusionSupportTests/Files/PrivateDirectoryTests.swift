import Foundation
import Testing
import TransfusionSupport
import _TestUtilities

/// Whoever can write above a directory must not get at the secrets that are written into it.
@Suite struct PrivateDirectoryTests {
    private let temporary: TemporaryDirectory
    private var path: String { temporary.file("a/private") }
    private var directory: PrivateDirectory { PrivateDirectory(path) }

    init() throws {
        temporary = try TemporaryDirectory()
    }

    private func mode(_ path: String) throws -> Int {
        try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    private func plant(mode: Int) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    @Test func onlyTheUserCanReadWhatIsWritten() throws {
        try directory.make()
        try directory.make()
        try directory.write("one".utf8, to: "token")
        try directory.write("two".utf8, to: "token", durable: false)
        #expect(try mode(path) == 0o700 && mode(path + "/token") == 0o600)
        #expect(FileManager.default.contents(atPath: path + "/token") == Data("two".utf8))
        #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["token"])
    }

    @Test(arguments: [0o777, 0o750, 0o701]) func refusesWhatIsOpenToOthers(_ mode: Int) throws {
        try plant(mode: mode)
        let expected = FileFailure(
            path,
            because:
                "is open to other users (mode \(String(mode, radix: 8))), and secrets lie in it; remove it, or look at "
                + "what is in it and then 'chmod 700' it")
        #expect(throws: expected) { try directory.make() }
        #expect(throws: expected) { try directory.write("x".utf8, to: "token") }
        #expect(!directory.isUsable)
        #expect(try FileManager.default.contentsOfDirectory(atPath: path) == [])
        // The remedy helps.
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
        try directory.write("x".utf8, to: "token")
    }

    @Test(.enabled(if: geteuid() == 0, "only root can give files away")) func refusesWhatBelongsToSomebodyElse() throws
    {
        try plant(mode: 0o700)
        try #require(chown(path, 12345, 12345) == 0)
        let failure = #expect(throws: FileFailure.self) { try directory.write("x".utf8, to: "token") }
        #expect(failure?.reason == "belongs to user 12345, who could read the secrets in it; remove it")
    }

    @Test func followsNoLinks() throws {
        let other = temporary.file("other")
        try PrivateDirectory(other).make()
        try PrivateDirectory(other).write("theirs".utf8, to: "file")
        try FileManager.default.createDirectory(atPath: temporary.file("a"), withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: other)
        let failure = #expect(throws: FileFailure.self) { try directory.make() }
        #expect(failure?.reason == "is no directory of its own; secrets lie there: remove it")
        // A link in the place of a file is replaced, and what it points to stays.
        unlink(path)
        try directory.make()
        try FileManager.default.createSymbolicLink(atPath: path + "/token", withDestinationPath: other + "/file")
        try directory.write("mine".utf8, to: "token")
        #expect(FileManager.default.contents(atPath: other + "/file") == Data("theirs".utf8))
        #expect(FileManager.default.contents(atPath: path + "/token") == Data("mine".utf8))
        #expect(try mode(path + "/token") == 0o600)
    }

    @Test func removesWhatKilledWritersLeft() throws {
        try directory.make()
        try directory.write("x".utf8, to: "token")
        for name in [".token.abc123.secret-tmp", ".other"] {
            _ = FileManager.default.createFile(atPath: path + "/" + name, contents: nil)
        }
        directory.removeLeftovers()
        #expect(try Set(FileManager.default.contentsOfDirectory(atPath: path)) == ["token", ".other"])
    }
}
