import Foundation
import Synchronization
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import TransfusionParallel
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

@Suite struct TrainingLoopTests {
    @Test(.timeLimit(.minutes(5))) func ranksShareOneRun() throws {
        let run = try TrainingRun()
        for ranks in [1, 2, 3, 4] { try run.train("\(ranks)", ranks: ranks) }
        let alone = try run.losses("1")
        #expect(alone.count == 20)
        #expect(try #require(alone.last) < 0.8 * alone[0], "the model learns nothing: \(alone)")
        for ranks in [2, 3, 4] {
            #expect(largestRelativeDifference(try run.losses("\(ranks)"), alone) < 1e-5)
            let norms = try run.records("\(ranks)").map(\.gradientNorm)
            #expect(largestRelativeDifference(norms, try run.records("1").map(\.gradientNorm)) < 1e-5)
        }
    }

    @Test(.timeLimit(.minutes(5)), arguments: ["f32", "bf16"], [1, 2])
    func aResumedRunGivesTheSameBits(_ precision: String, _ ranks: Int) throws {
        let run = try TrainingRun()
        let set = ["precision=\(precision)", "batch.micro_sequences=2"]
        try run.train("whole", ranks: ranks, set: set)
        // Inside the warm-up, and twice.
        try run.train("parts", ranks: ranks, lastStep: 3, set: set)
        try run.train("parts", ranks: ranks, lastStep: 11, set: set)
        try run.train("parts", ranks: ranks, set: set)
        #expect(try run.losses("parts") == run.losses("whole"))
        #expect(try run.tensors("parts", step: 20) == run.tensors("whole", step: 20))
        #expect(try run.records("parts").map(\.tokens) == run.records("whole").map(\.tokens))
    }

    @Test(.timeLimit(.minutes(5))) func aRecordIsTheMeanOfTheStepsSinceTheOneBefore() throws {
        let run = try TrainingRun()
        let configuration = try run.configuration([]), directory = run.path("steps")
        let steps = try ThreadGroup.run(ranks: 1) { group in
            let loop = try TrainingLoop(
                configuration, directory: directory, group: group, ranksOnHost: 1, log: { _ in })
            _ = try loop.checkpoints.begin(loop.task)
            return try (0..<20).map { _ in try loop.trainOneStep() }
        }[0]
        // So that a plain mean of the steps' losses is something else.
        #expect(Set(steps.map { $0.losses[0].count }).count > 1)
        try run.train("each")
        try run.train("seventh", set: ["telemetry.log_every_steps=7"])
        #expect(try run.losses("each") == steps.map(\.losses.loss))
        let records = try run.records("seventh")
        #expect(records.map(\.step) == [7, 14, 20])
        for (record, range) in zip(records, [0..<7, 7..<14, 14..<20]) {
            func sum(_ value: (StepSummary) -> Double) -> Double { steps[range].map(value).reduce(0, +) }
            let text = sum(\.losses[0].sum) / sum { Double($0.losses[0].count) }
            let image = sum(\.losses[1].sum) / sum { Double($0.losses[1].count) }
            #expect(record.losses == ["text": text, "image": image] && record.loss == text + 5 * image)
            #expect(record.gradientNorm == sum(\.gradientNorm) / Double(range.count))
        }
    }

    @Test(.timeLimit(.minutes(5))) func aResumedRunLogsTheMeansOfOneThatWasNeverStopped() throws {
        let run = try TrainingRun(), set = ["telemetry.log_every_steps=7"]
        try run.train("whole", set: set)
        for last in [3, 10, 14, 20] { try run.train("parts", lastStep: last, set: set) }
        func logged(_ name: String) throws -> [[Double?]] {
            try run.records(name).map { [$0.loss, $0.losses["text"], $0.losses["image"], $0.gradientNorm] }
        }
        #expect(try logged("parts") == logged("whole") && logged("whole").count == 3)
    }

    @Test func aCheckpointSaysHowLongItsSequencesWere() throws {
        let run = try TrainingRun()
        try run.train("run", lastStep: 1)
        #expect(try ModelArchive(run.path("run").path).contextLength == 64)
    }

    @Test(.timeLimit(.minutes(5))) func anAsynchronousSaveGivesTheSameBits() throws {
        let run = try TrainingRun()
        let set = ["checkpoint.every_steps=4", "checkpoint.keep.last=9"]
        try run.train("still", ranks: 2, set: set)
        try run.train("beside", ranks: 2, set: set + ["checkpoint.asynchronous=true"])
        for step in [4, 8, 12, 16, 20] {
            #expect(try run.tensors("beside", step: step) == run.tensors("still", step: step))
        }
    }

    @Test(.timeLimit(.minutes(5))) func theLastCheckpointIsNeverSkipped() throws {
        let run = try TrainingRun()
        let set = ["checkpoint.every_steps=1", "checkpoint.asynchronous=true", "checkpoint.when_busy=skip"]
        try run.train("run", ranks: 2, lastStep: 7, set: set)
        try run.train("run", ranks: 2, set: set)
        try run.train("whole", ranks: 2)
        #expect(try run.tensors("run", step: 20) == run.tensors("whole", step: 20))
    }

    /// Where one pass over the pictures ends and the next begins, and a step before and after, while the saves go on
    /// beside training.
    @Test(.timeLimit(.minutes(5))) func aResumedRunGivesTheSameBitsAroundAnEpochEdge() throws {
        let run = try TrainingRun()
        let set = ["checkpoint.every_steps=1", "checkpoint.keep.last=99", "checkpoint.asynchronous=true"]
        let configuration = try run.configuration([])
        let edges = try ThreadGroup.run(ranks: 1) { group in
            let source = try TrainingSetup<TransfusionTask>(configuration, group: group, ranksOnHost: 1).task.source
            return try (1..<20).filter { step in
                func epoch(_ step: Int) throws -> Double? { try source.epochs(before: step)[0].pairs?.rounded(.down) }
                return try epoch(step - 1) != epoch(step)
            }
        }[0]
        let edge = try #require(edges.first { (5..<18).contains($0) })
        try run.train("whole", ranks: 2, set: set)
        for step in [edge - 1, edge, edge + 1] { try run.train("parts", ranks: 2, lastStep: step, set: set) }
        try run.train("parts", ranks: 2, set: set)
        #expect(try run.losses("parts") == run.losses("whole"))
        for step in 1...20 {
            #expect(try run.tensors("parts", step: step) == run.tensors("whole", step: step), "step \(step)")
        }
    }

    @Test(.timeLimit(.minutes(5))) func recomputationChangesNoBits() throws {
        let run = try TrainingRun()
        try run.train("none")
        for recompute in ["selective", "full"] {
            try run.train(recompute, set: ["parallel.recompute=\(recompute)"])
            #expect(try run.losses(recompute) == run.losses("none"))
            #expect(try run.tensors(recompute, step: 20) == run.tensors("none", step: 20))
        }
    }

    @Test(.timeLimit(.minutes(5))) func anotherNumberOfRanksGoesOn() throws {
        let run = try TrainingRun()
        try run.train("whole")
        try run.train("mixed", ranks: 3, lastStep: 7)
        try run.train("mixed", ranks: 2)
        #expect(largestRelativeDifference(try run.losses("mixed"), try run.losses("whole")) < 1e-5)
    }

    @Test(.timeLimit(.minutes(5))) func aNumberThatIsNoneStopsAllRanksBeforeTheUpdate() throws {
        let run = try TrainingRun(hasBrokenPicture: true)
        #expect {
            try run.train("wild", ranks: 2)
        } throws: { error in
            let text = "\(error)"
            return text.contains("rank") && text.contains("gradient of") && text.contains("not finite")
        }
        let checkpoints = CheckpointStore(run.path("wild").checkpoints)
        #expect(try checkpoints.steps().isEmpty, "a broken state was saved")
    }

    @Test func impossibleRunsAreRefused() throws {
        let run = try TrainingRun()
        func refusal(_ name: String, ranks: Int = 1, resume: TrainingOptions.Resume = .automatic, _ set: String...)
            -> String
        {
            do {
                try run.train(name, ranks: ranks, lastStep: 1, resume: resume, set: set)
                return "nothing was refused"
            } catch {
                return "\(error)"
            }
        }
        #expect(refusal("ranks", ranks: 3, "batch.global_sequences=2").contains("batch.global_sequences"))
        #expect(refusal("patch", "model.patch=3").contains("model.patch"))
        #expect(refusal("data", "data.path=/nowhere").contains("/nowhere"))
        try run.train("taken", lastStep: 1)
        #expect(refusal("taken", resume: .never).contains("resume from it"))
        #expect(refusal("taken", "model.width=64").contains("model.width"))
        #expect(refusal("other", resume: .from("/nowhere")).contains("/nowhere"))
        let narrow = run.path("taken").checkpoints + "/step-00000001"
        #expect(refusal("wider", resume: .from(narrow), "model.width=64").contains("another model"))
        let large = refusal("large", "model.layers=1024", "model.width=16384")
        #expect(large.contains("memory: 1 rank of this host would need"), "\(large)")
        #expect(!FileManager.default.fileExists(atPath: run.path("large").path), "a run was made that cannot be")
        let latents = try TrainingRun(channels: 4)
        #expect {
            try latents.train("latents", set: ["samples.every_steps=5", "samples.prompts=[red]"])
        } throws: { "\($0)".contains("samples.every_steps") && "\($0)".contains("4 channels") }
    }

    @Test func aRunGoesOnFromTheNewestCheckpointOfAnother() throws {
        let run = try TrainingRun()
        try run.train("first", lastStep: 2)
        try run.train("second", resume: .from(run.path("first").path))
        try run.train("whole")
        #expect(try run.tensors("second", step: 20) == run.tensors("whole", step: 20))
    }

    /// A file of the reports that cannot be written costs records, not the run.
    @Test func trainingGoesOnWithoutReports() throws {
        let run = try TrainingRun()
        try run.train("run", lastStep: 2)
        let file = run.path("run").prometheus
        try FileManager.default.removeItem(atPath: file)
        try FileManager.default.createDirectory(atPath: file + "/in the way", withIntermediateDirectories: true)
        let log = Mutex<[String]>([])
        try run.train("run") { line in log.withLock { $0.append(line) } }
        let lines = log.withLock { $0 }
        #expect(lines.filter { $0.contains("warning: ") && $0.contains(file) }.count == 1, "\(lines)")
        #expect(try run.losses("run").count == 20)
    }

    @Test func savesThatFailAreInTheHeartbeatsUntilOneSucceeds() throws {
        let run = try TrainingRun()
        let set = ["checkpoint.every_steps=1"]
        try run.train("run", lastStep: 2, set: set)
        func failed(_ rank: Int) throws -> Heartbeat.FailedSaves? {
            try Heartbeat.read(Heartbeat.file(rank: rank, in: run.path("run").heartbeats)).failedSaves
        }
        #expect(try failed(0) == nil)
        // What an interrupted save left cannot be removed.
        let left = run.path("run").checkpoints + "/step-00000099.partial"
        try FileManager.default.createDirectory(atPath: left + "/in the way", withIntermediateDirectories: true)
        #expect(throws: (any Error).self) { try run.train("run", ranks: 2, lastStep: 5, set: set) }
        for rank in 0..<2 {
            let failed = try #require(try failed(rank))
            #expect(failed.count == 3 && failed.step == 5 && failed.reason.contains(left), "\(failed)")
        }
        try FileManager.default.removeItem(atPath: left)
        try run.train("run", ranks: 2, lastStep: 5, set: set)
        for rank in 0..<2 { #expect(try failed(rank) == nil) }
    }

    @Test func aChangedDataSetIsRefused() throws {
        let run = try TrainingRun()
        try run.train("run", lastStep: 2)
        let other = try SmallDataset(shift: 1)
        try FileManager.default.removeItem(atPath: run.dataset.path)
        try FileManager.default.copyItem(atPath: other.path, toPath: run.dataset.path)
        #expect {
            try run.train("run")
        } throws: { "\($0)".contains(run.dataset.path) && "\($0)".contains("digest") }
    }

    @Test(.timeLimit(.minutes(5))) func aRunWithAnotherOrderOfDataIsRefused() throws {
        let run = try TrainingRun()
        try run.train("run", lastStep: 2)
        var metadata = try CheckpointStore(run.path("run").checkpoints).open(step: 2).metadata
        #expect(metadata.scalars["packing"] == .number(2))
        let digest = try #require(metadata.data)
        try TransfusionTask.checkPacking(metadata, path: "c", data: digest)
        for other in [nil, JSONValue.number(1), .number(3)] {
            metadata.scalars["packing"] = other
            #expect {
                try TransfusionTask.checkPacking(metadata, path: "c", data: digest)
            } throws: { "\($0)".hasPrefix("c: ") && "\($0)".contains("model.initial_weights: c") }
            // With another data set, the order is another anyway.
            try TransfusionTask.checkPacking(metadata, path: "c", data: "another")
        }
    }

    @Test(.timeLimit(.minutes(5))) func metricsTellTheRatioAndThePadding() throws {
        let run = try TrainingRun()
        try run.train("run", lastStep: 4, set: ["telemetry.log_every_steps=2", "data.text_image_ratio=2"])
        let records = try run.records("run")
        for record in records {
            #expect(abs(record.textToImageRatio / 2 - 1) < 0.1 && record.padding == 0)
            #expect(record.tokens == record.step * 8 * 64)
        }
        #expect(records.count == 2)
    }

    @Test func aDamagedCheckpointIsPassedOver() throws {
        let run = try TrainingRun()
        let set = ["checkpoint.every_steps=5", "checkpoint.keep.last=9"]
        try run.train("run", lastStep: 15, set: set)
        let shard = run.path("run").checkpoints + "/step-00000015/rank-00000.shard"
        var bytes = try Data(contentsOf: URL(filePath: shard))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(filePath: shard))
        try run.train("run", set: set)
        try run.train("whole", set: set)
        #expect(try run.tensors("run", step: 20) == run.tensors("whole", step: 20))
        #expect(FileManager.default.fileExists(atPath: run.path("run").checkpoints + "/step-00000015.corrupt"))
        #expect(try run.losses("run") == run.losses("whole"))
    }

    /// Not even when it is started again, as a supervisor does.
    @Test func aRunThatLostAllCheckpointsDoesNotBeginAnewByItself() throws {
        let run = try TrainingRun()
        try run.train("run", lastStep: 2)
        try FileManager.default.removeItem(atPath: run.path("run").checkpoints + "/step-00000002/rank-00000.shard")
        for _ in 0..<2 {
            #expect {
                try run.train("run")
            } throws: {
                "\($0)".contains("every checkpoint of the run is damaged (the newest is now step-00000002.corrupt)")
            }
        }
        #expect(try run.losses("run").count == 2, "records of what was trained are gone")
        try run.train("run", resume: .never)
        try run.train("whole")
        #expect(try run.losses("run") == run.losses("whole"))
    }
}
