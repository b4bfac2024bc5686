import Synchronization
import Testing
import TransfusionConfig
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// Runs that go on with another configuration.
@Suite(.timeLimit(.minutes(5))) struct ChangedRunTests {
    let run: TrainingRun

    init() throws { run = try TrainingRun() }

    @Test func aFinishedRunIsMadeLonger() throws {
        try run.train("run")
        let log = Mutex<[String]>([])
        try run.train("run", set: ["schedule.steps=30"]) { line in log.withLock { $0.append(line) } }
        let records = try run.records("run")
        let longer = LearningRateSchedule(peak: 3e-3, minimum: 1e-4, warmupSteps: 5, steps: 30)
        #expect(records.count == 30)
        #expect(records.dropFirst(20).map(\.learningRate) == (20..<30).map(longer.learningRate))
        #expect(records.map(\.changes) == (1...30).map { $0 == 21 ? ["schedule.steps: 20 → 30"] : [] })
        let lines = log.withLock { $0 }
        #expect(lines.contains("changed since the last start: schedule.steps: 20 → 30"), "\(lines)")
        let rate = longer.learningRate(20)
        #expect(
            lines.contains(
                "changed from step 21 on: schedule.steps: 20 → 30; the learning rate of that step is \(rate) instead of 0.0001"
            ),
            "\(lines)")
        // Started once more without a change, it has nothing to say.
        try run.train("run", lastStep: 30, set: ["schedule.steps=30"])
        #expect(try run.records("run").count == 30)
    }

    @Test func aRunThatWasChangedAndStoppedIsTheOneThatWasOnlyChanged() throws {
        let set = ["schedule.learning_rate=1e-3", "telemetry.log_every_steps=4"]
        for name in ["whole", "parts"] { try run.train(name, lastStep: 9, set: ["telemetry.log_every_steps=4"]) }
        try run.train("whole", set: set)
        // Between two records.
        for last in [10, 14] { try run.train("parts", lastStep: last, set: set) }
        try run.train("parts", ranks: 1, set: set)
        #expect(try run.tensors("parts", step: 20) == run.tensors("whole", step: 20))
        for name in ["whole", "parts"] {
            let changed = try run.records(name).filter { !$0.changes.isEmpty }
            #expect(changed.map(\.step) == [12] && changed[0].changes == ["schedule.learning_rate: 0.003 → 0.001"])
        }
        let unchanged = try TrainingRun()
        try unchanged.train("run")
        #expect(try unchanged.tensors("run", step: 20) != run.tensors("whole", step: 20))
    }

    @Test(arguments: [
        ("model.width=64", "its weights would be those of another model"),
        ("model.initial_weights=/other", "a run starts from other weights once"),
        ("batch.global_sequences=4", "some of the data would be seen twice in an epoch, and some not at all"),
        ("seed=3", "some of the data would be seen twice"),
        ("optimizer.beta1=0.5", "the moments of the optimizer, would be of another training"),
    ]) func whatMayNotChangeIsRefusedWithWhatWouldFollow(_ change: String, _ consequence: String) throws {
        try run.train("run", lastStep: 1)
        let before = try RunConfiguration.load(run.path("run").configuration)
        #expect {
            try run.train("run", set: [change])
        } throws: { error in
            "\(error)".contains(consequence)
                && "\(error)".contains("(model.initial_weights=\(run.path("run").path)")
        }
        #expect(try RunConfiguration.load(run.path("run").configuration) == before)
    }
}
