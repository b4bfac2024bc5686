import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

@Suite struct UnfinishedDirectoryTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    var contents: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() }
    }

    @Test(arguments: ["set", "set/", "set///", "sub/./set/"])
    func aSlashAtTheEndIsNoPartOfTheName(_ name: String) throws {
        let unfinished = try UnfinishedDirectory(directory.file(name))
        try Data([1]).write(to: URL(filePath: unfinished.file("keys.txt")))
        try unfinished.finish()
        let place = directory.file(name.hasPrefix("sub") ? "sub/set" : "set")
        #expect(FileManager.default.contents(atPath: place + "/keys.txt") == Data([1]))
        #expect(try FileManager.default.contentsOfDirectory(atPath: place) == ["keys.txt"])
        #expect(try contents == [name.hasPrefix("sub") ? "sub" : "set"])
    }

    @Test func aPlaceThatCannotBeUsedIsRefusedAtOnce() throws {
        try Data().write(to: URL(filePath: directory.file("file")))
        try FileManager.default.createSymbolicLink(
            atPath: directory.file("link"), withDestinationPath: directory.file("nowhere"))
        for (place, reason) in [
            ("", "is no name"), (directory.file("new/.."), "is no name"), (directory.path + "/", "exists already"),
            (directory.file("file"), "exists already"), (directory.file("link"), "exists already"),
            (directory.file("file/set"), "cannot make the directory"), ("/proc/set", "cannot be made"),
        ] {
            #expect("\(place)") { try UnfinishedDirectory(place) } throws: { "\($0)".contains(reason) }
        }
        #expect(try contents == ["file", "link"])
    }

    @Test func whatADeadProcessLeftIsRemovedAndNothingElse() throws {
        func make(_ name: String, _ files: [String]) throws {
            try FileManager.default.createDirectory(
                atPath: directory.file(name), withIntermediateDirectories: false)
            for file in files { try Data([1]).write(to: URL(filePath: directory.file("\(name)/\(file)"))) }
        }
        // One of a dead process; one with the number of this process, which a dead one had before.
        try make("set.tmp-999999999", ["images.bin", "manifest.json"])
        try make("set.tmp-\(getpid())", ["sheet.png"])
        // One of a process that is alive, here this one; other data sets', and a person's own directories.
        try make("set.tmp-77", ["images.bin"])
        try make("other.tmp-999999999", ["images.bin"])
        try make("set.tmp-5", ["images.bin", "notes.txt"])
        try make("set.tmp-old", ["images.bin"])
        let descriptor = open(directory.file("set.tmp-77"), O_RDONLY)
        defer { close(descriptor) }
        #expect(flock(descriptor, LOCK_EX | LOCK_NB) == 0)

        let unfinished = try UnfinishedDirectory(directory.file("set"))
        let others = ["other.tmp-999999999", "set.tmp-5", "set.tmp-77", "set.tmp-old"]
        #expect(Set(try contents) == Set(others + ["set.tmp-\(getpid())"]))
        // Nothing is in it, and it is held.
        #expect(try FileManager.default.contentsOfDirectory(atPath: unfinished.file("")).isEmpty)
        let second = open(unfinished.file(""), O_RDONLY)
        defer { close(second) }
        withExtendedLifetime(unfinished) { #expect(flock(second, LOCK_EX | LOCK_NB) == -1) }
    }

    @Test func oneThatIsNotFinishedLeavesNothing() throws {
        do {
            let unfinished = try UnfinishedDirectory(directory.file("set"))
            try Data([1]).write(to: URL(filePath: unfinished.file("images.bin")))
        }
        #expect(try contents == [])
    }
}
