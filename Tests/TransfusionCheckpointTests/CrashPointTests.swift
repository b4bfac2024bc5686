import Glibc
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

/// Whatever goes wrong at whatever operation of a save: afterwards the previous or the new checkpoint is there,
/// complete.
@Suite struct CrashPointTests {
    /// Something that writes, what was there before, and what may be there afterwards.
    struct Scenario: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let prepare: @Sendable (CheckpointStore) throws -> Void
        let act: @Sendable (CheckpointStore) throws -> Void
        /// The newest checkpoint: its step and its version of the contents.
        let before: [Int]
        let after: [Int]
        /// What may also be there when it did not come to its end.
        var between: [Int]?

        func mayLeave(_ found: [Int]) -> Bool { found == before || found == after || found == between }
    }

    static let scenarios = [
        Scenario(
            testDescription: "a new step",
            prepare: { try save($0, step: 1, version: 1) },
            act: { try save($0, step: 2, version: 2) }, before: [1, 1], after: [2, 2]),
        Scenario(
            testDescription: "the same step again",
            prepare: { try save($0, step: 1, version: 1) },
            act: { try save($0, step: 1, version: 2) }, before: [1, 1], after: [1, 2]),
        Scenario(
            testDescription: "a new step, then old ones are removed",
            prepare: { for step in 1...3 { try save($0, step: step, version: step) } },
            act: {
                try save($0, step: 4, version: 4)
                try $0.removeOutdated(Retention(last: 1))
                $0.emptyTrash()
            }, before: [3, 3], after: [4, 4]),
        Scenario(
            testDescription: "over what an interrupted save left",
            prepare: { store in
                try save(store, step: 1, version: 1)
                let files = try #require(store.fileSystem as? CrashFileSystem)
                files.arm(.stop, at: 9)
                #expect(throws: (any Error).self) { try save(store, step: 2, version: 2) }
                files.arm(nil, at: 0)
            },
            act: { try save($0, step: 2, version: 3) }, before: [1, 1], after: [2, 3]),
        // The branch that is left, or the chosen checkpoint, or what follows from it: never the middle of the old branch.
        Scenario(
            testDescription: "going back, then a new step",
            prepare: { for step in 1...5 { try save($0, step: step, version: step) } },
            act: {
                try $0.putAside([3, 4, 5], branch: 1)
                try save($0, step: 3, version: 7)
            }, before: [5, 5], after: [3, 7], between: [2, 2]),
    ]

    static let boxes = [
        TensorBox(name: "w", type: .f32, shape: [5, 7]),
        TensorBox(name: "optimizer.exp_avg.w", type: .f32, shape: [5, 7]),
    ]

    /// Saves contents that differ from version to version. Three chunks a tensor.
    static func save(_ store: CheckpointStore, step: Int, version: Int) throws {
        let pieces = boxes.map { box in
            ShardPiece(box) { range, memory in memory.copyBytes(from: contents(box, version)[range]) }
        }
        try store.save(step: step, metadata: exampleMetadata, pieces: pieces)
    }

    static func contents(_ box: TensorBox, _ version: Int) -> [UInt8] {
        (0..<box.byteCount).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ version &* 31) }
    }

    private static func store(_ files: any FileSystem) -> CheckpointStore {
        CheckpointStore(
            "/run/checkpoints", options: .init(compressionLevel: 1, chunkBytes: 64, threads: 1), fileSystem: files)
    }

    private static func prepared(_ scenario: Scenario) throws -> CrashFileSystem {
        let files = CrashFileSystem()
        try files.createDirectory("/run")
        try files.synchronize(directory: "/")
        try scenario.prepare(store(files))
        return files
    }

    /// How many operations the scenario has.
    private static func operations(_ scenario: Scenario) throws -> Int {
        let files = try prepared(scenario)
        files.arm(nil, at: 0)
        try scenario.act(store(files))
        return files.operations
    }

    /// The newest checkpoint, every byte compared, as step and version.
    private func recovered(_ files: CrashFileSystem) throws -> [Int] {
        let checkpoint = try #require(try Self.store(files).newestVerified { _ in })
        let version = try #require(
            (0...9).first { version in
                Self.boxes.allSatisfy { box in (try? checkpoint.bytes(of: box)) == Self.contents(box, version) }
            })
        return [checkpoint.step, version]
    }

    /// After any recovery, saving goes on.
    private func savesAgain(_ files: CrashFileSystem) throws {
        try Self.save(Self.store(files), step: 9, version: 9)
        #expect(try recovered(files) == [9, 9])
    }

    @Test(arguments: scenarios) func everyOperationFails(_ scenario: Scenario) throws {
        let operations = try Self.operations(scenario)
        print(
            "crash points, \(scenario.testDescription): \(operations) operations, each fails: EIO, ENOSPC, full disk"
        )
        #expect(operations > 20)
        for operation in 0..<operations {
            for fault: CrashFileSystem.Fault in [.error(EIO), .error(ENOSPC), .full] {
                let files = try Self.prepared(scenario)
                files.arm(fault, at: operation)
                var failed = false
                do { try scenario.act(Self.store(files)) } catch { failed = true }
                files.arm(nil, at: 0)
                let found = try recovered(files)
                #expect(
                    found == scenario.after || failed && scenario.mayLeave(found),
                    "\(fault) at operation \(operation): \(found)")
                try savesAgain(files)
            }
        }
    }

    @Test(arguments: scenarios) func everyWriteIsCutShort(_ scenario: Scenario) throws {
        for operation in 0..<(try Self.operations(scenario)) {
            let files = try Self.prepared(scenario)
            files.arm(.shortWrite, at: operation)
            try scenario.act(Self.store(files))
            #expect(try recovered(files) == scenario.after)
        }
    }

    @Test(arguments: scenarios) func thePowerGoesAtEveryOperation(_ scenario: Scenario) throws {
        let operations = try Self.operations(scenario)
        let losses: [CrashFileSystem.Loss] = [.everything, .contents, .names, .nothing] + (0..<12).map { .some($0) }
        print(
            "crash points, \(scenario.testDescription): \(operations) operations × \(losses.count) ways to lose power")
        for operation in 0...operations {
            let files = try Self.prepared(scenario)
            files.arm(.stop, at: operation)
            let finished = (try? scenario.act(Self.store(files))) != nil && operation == operations
            for loss in losses {
                let left = files.afterPowerLoss(loss)
                let found = try recovered(left)
                #expect(
                    found == scenario.after || !finished && scenario.mayLeave(found),
                    "\(loss) at operation \(operation): \(found)")
                try savesAgain(left)
            }
        }
    }

    /// The same with real files and a process that is really killed.
    @Test func theProcessIsKilledAtEveryOperation() async throws {
        let counting = try TemporaryDirectory()
        let counter = KillingFileSystem(at: .max)
        let store = CheckpointStore(
            counting.path, options: .init(compressionLevel: 1, chunkBytes: 64, threads: 1), fileSystem: counter)
        try Self.save(store, step: 1, version: 1)
        let first = counter.operations
        try Self.save(store, step: 2, version: 2)
        let operations = counter.operations - first
        print("crash points: \(operations) operations, a process killed with SIGKILL at each")
        #expect(operations > 20)
        for operation in 0..<operations {
            let directory = try TemporaryDirectory()
            let path = directory.path
            let store = CheckpointStore(path, options: .init(compressionLevel: 1, chunkBytes: 64, threads: 1))
            try Self.save(store, step: 1, version: 1)
            await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, operation = operation as Int] in
                let files = KillingFileSystem(at: operation)
                let options = CheckpointOptions(compressionLevel: 1, chunkBytes: 64, threads: 1)
                try CrashPointTests.save(
                    CheckpointStore(path, options: options, fileSystem: files), step: 2, version: 2)
            }
            let checkpoint = try #require(try store.newestVerified { _ in })
            #expect(checkpoint.step == 1 || checkpoint.step == 2)
            for box in Self.boxes {
                #expect(try checkpoint.bytes(of: box) == Self.contents(box, checkpoint.step))
            }
            try Self.save(store, step: 9, version: 9)
            #expect(try store.newestVerified { _ in }?.step == 9)
        }
    }
}
