import Foundation
import Testing
import TransfusionSupport

@Suite struct DirectoriesTests {
    /// In a process of its own, as the current directory belongs to all of a process's threads.
    @Test func makesAndFillsADirectoryOfOneLetter() async {
        await #expect(processExitsWith: .success) {
            let place = FileManager.default.temporaryDirectory.path + "/directories-\(getpid())"
            try Directories.make(place + "/deep")
            guard chdir(place) == 0 else { exit(3) }
            try Directories.make("r")
            try AtomicFile.write("x".utf8, to: "f")
            guard FileManager.default.fileExists(atPath: place + "/r"),
                FileManager.default.contents(atPath: place + "/f") == Data("x".utf8)
            else { exit(4) }
            try FileManager.default.removeItem(atPath: place)
        }
    }
}
