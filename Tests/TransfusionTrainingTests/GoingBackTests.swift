import Foundation
import Synchronization
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// A run that goes on from an older checkpoint than its newest leaves a branch, which is kept.
@Suite struct GoingBackTests {
    private let run: TrainingRun
    private let set = ["checkpoint.every_steps=3", "checkpoint.keep.last=2", "telemetry.tensorboard=true"]

    init() throws { run = try TrainingRun() }

    private func store(_ name: String = "run") -> CheckpointStore { CheckpointStore(run.path(name).checkpoints) }

    private func checkpoint(_ step: Int, of name: String = "run") -> TrainingOptions.Resume {
        .from(run.path(name).checkpoints + "/step-000000" + (step < 10 ? "0" : "") + "\(step)")
    }

    private func names(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    private func digests(_ checkpoint: Checkpoint) throws -> [String] {
        try checkpoint.verify()
        return CheckpointSummary(checkpoint).tensors.map(\.digest)
    }

    /// The records of another file of metrics in the run's directory.
    private func losses(of file: String) throws -> [Double] {
        try MetricsLog.read(run.path("run").path + "/" + file).map(\.loss)
    }

    /// The run has checkpoints of steps 12 and 15, goes on from 12, and saves step 13.
    private func goBack(log: @escaping @Sendable (String) -> Void = { _ in }) throws {
        try run.train("run", lastStep: 15, set: set)
        try run.train("run", lastStep: 13, resume: checkpoint(12), set: set, log: log)
    }

    @Test(.timeLimit(.minutes(5))) func theBranchThatIsLeftIsKeptAndTold() throws {
        let told = Mutex<[String]>([])
        try run.train("run", lastStep: 15, set: set)
        let old = try run.losses("run"), digests = try digests(store().open(step: 15))
        try goBack { line in told.withLock { $0.append(line) } }
        #expect(
            told.withLock { $0.filter { $0.hasPrefix("going back") } } == [
                "going back: the checkpoint of step 15 and the records of the branch that is left are kept aside, as "
                    + "checkpoints/step-….aside-1, metrics.aside-1.jsonl, events/aside-1"
            ])
        // The new branch is the run's, and what was just saved is there.
        #expect(try store().steps() == [12, 13])
        let new = try run.losses("run")
        #expect(new == Array(old[..<13]))
        // The old one is whole.
        #expect(try store().aside().map(\.step) == [15])
        #expect(try losses(of: "metrics.aside-1.jsonl") == old)
        #expect(try self.digests(Checkpoint(store().aside()[0].path)) == digests)
        let events = run.path("run").events
        #expect(try names(events + "/aside-1").count == 1)
        #expect(try names(events).filter { $0.contains("tfevents") }.count == 2)
    }

    @Test(.timeLimit(.minutes(5))) func itGoesOnWithTheNewBranch() throws {
        try goBack()
        try run.train("run", lastStep: 18, set: set)
        #expect(try store().steps() == [15, 18])
        #expect(try run.records("run").map(\.step) == Array(1...18))
        // And back to the first branch, by its name.
        let first = try store().aside()[0].path
        try run.train("run", resume: .from(first), set: set)
        try run.train("whole", set: set)
        #expect(try run.tensors("run", step: 20) == run.tensors("whole", step: 20))
        #expect(try store().steps() == [18, 20])
        #expect(try store().aside().map { [$0.branch, $0.step] } == [[1, 15], [2, 15], [2, 18]])
        #expect(try run.records("run").map(\.step) == Array(16...20))
        #expect(try MetricsLog.read(run.path("run").path + "/metrics.aside-2.jsonl").map(\.step) == Array(1...18))
    }

    /// Everything was put aside, and the first new checkpoint never came.
    @Test(.timeLimit(.minutes(5))) func aRunThatIsKilledBeforeItsFirstSaveGoesOnFromTheChosenCheckpoint() throws {
        try run.train("run", lastStep: 15, set: set)
        try store().putAside([15], branch: 1)
        try run.train("run", set: set)
        try run.train("whole", set: set)
        #expect(try run.losses("run") == run.losses("whole"))
        #expect(try run.tensors("run", step: 20) == run.tensors("whole", step: 20))
        try store().putAside(store().steps(), branch: 2)
        let aside = try #require(try store().aside().last).path
        #expect {
            try run.train("run", set: set)
        } throws: { "\($0)".contains("was put aside") && "\($0)".contains("as in \(aside)") }
    }

    @Test(.timeLimit(.minutes(5))) func theNewestLeavesNothing() throws {
        try run.train("run", lastStep: 15, set: set)
        for (resume, step) in [(checkpoint(15), 16), (.from(run.path("run").path), 17), (.automatic, 18)] {
            try run.train("run", lastStep: step, resume: resume, set: set)
        }
        // Where there is nothing to do, nothing is left either.
        try run.train("run", lastStep: 17, resume: checkpoint(17), set: set)
        #expect(try store().aside().isEmpty && store().steps() == [17, 18])
        #expect(try run.records("run").map(\.step) == Array(1...18))
        #expect(try !names(run.path("run").path).contains { $0.contains("aside") })
    }

    /// None of a run's own checkpoints leads to another run's.
    @Test(.timeLimit(.minutes(5))) func anotherRunsCheckpointLeavesAllOfThem() throws {
        try run.train("other", lastStep: 6, set: set)
        try run.train("run", lastStep: 15, set: set)
        let old = try run.losses("run")
        try run.train("run", lastStep: 8, resume: checkpoint(6, of: "other"), set: set)
        #expect(try store().steps() == [8])
        #expect(try store().aside().map(\.step) == [12, 15])
        #expect(try run.records("run").map(\.step) == [7, 8])
        #expect(try losses(of: "metrics.aside-1.jsonl") == old)
        #expect(try store("other").steps() == [3, 6])
    }
}
