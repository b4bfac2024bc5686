import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

@Suite struct AsideTests {
    private let directory: TemporaryDirectory
    private let store: CheckpointStore

    init() throws {
        directory = try TemporaryDirectory()
        store = CheckpointStore(directory.file("run/checkpoints"))
        for step in [10, 20, 30] {
            try store.save(step: step, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        }
    }

    @Test func whatIsPutAsideIsNoCheckpointOfTheRunAndOpensByItsPath() throws {
        try store.putAside([30, 20], branch: 2)
        #expect(try store.steps() == [10])
        #expect(try store.newestVerified { Issue.record("\($0)") }?.step == 10)
        let aside = try store.aside()
        #expect(aside.map(\.step) == [20, 30] && aside.allSatisfy { $0.branch == 2 })
        #expect(aside.map(\.path) == [20, 30].map { directory.file("run/checkpoints/step-000000\($0).aside-2") })
        #expect(try CheckpointLocation(aside[1].path).newest().step == 30)
        try Checkpoint(aside[0].path).verify()
        #expect(try store.removeOutdated(.init(last: 1)).isEmpty)
        #expect(try store.aside().count == 2)
    }

    @Test(arguments: ["step-00000020.aside-0", "step-00000020.aside-01", "step-20.aside-1", "step-00000020.aside-1.x"])
    func otherNamesAreNone(_ name: String) throws {
        try POSIXFileSystem().createDirectory(store.directory + "/" + name)
        #expect(try store.aside().isEmpty)
    }

    @Test func aRunKnowsItsOwnByAnyPath() throws {
        try POSIXFileSystem().rename(directory.file("run"), to: directory.file("real"))
        try FileManager.default.createSymbolicLink(
            atPath: directory.file("run"), withDestinationPath: directory.file("real"))
        let own = directory.file("real/checkpoints/../checkpoints/step-00000020/")
        #expect(store.holds(try Checkpoint(own)))
        let other = CheckpointStore(directory.file("other"))
        try other.save(step: 20, metadata: exampleMetadata, pieces: SyntheticState.small.pieces())
        #expect(!store.holds(try other.open(step: 20)))
        try store.putAside([20], branch: 1)
        #expect(!store.holds(try Checkpoint(store.aside()[0].path)))
    }
}
