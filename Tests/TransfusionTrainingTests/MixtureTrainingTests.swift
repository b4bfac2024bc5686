import Foundation
import Synchronization
import Testing
import TransfusionConfig
import TransfusionParallel
import _TestUtilities

@testable import TransfusionTraining

/// Runs on several data sets.
@Suite(.timeLimit(.minutes(5))) struct MixtureTrainingTests {
    let run: TrainingRun
    let other: SmallDataset

    init() throws {
        run = try TrainingRun()
        other = try SmallDataset(shift: 3)
    }

    /// The weights change at the 7th step.
    private func mixture(weight: Double = 3) -> [String] {
        [
            "data.path=none",
            "data.sources=[{path: \(run.dataset.path)}, {path: \(other.path), weight: \(weight), from_step: 6}]",
            "parallel.reduction=elastic", "schedule.steps=12",
        ]
    }

    @Test func ranksAndStopsGiveTheSameBits() throws {
        try run.train("whole", set: mixture())
        try run.train("two", ranks: 2, set: mixture())
        for last in [5, 6, 7] { try run.train("parts", ranks: last % 2 + 1, lastStep: last, set: mixture()) }
        try run.train("parts", ranks: 2, set: mixture())
        for name in ["two", "parts"] {
            #expect(try run.losses(name) == run.losses("whole"))
            #expect(try run.tensors(name, step: 12) == run.tensors("whole", step: 12))
        }
        try run.train("alone", set: ["parallel.reduction=elastic", "schedule.steps=12"])
        #expect(try run.losses("alone") != run.losses("whole"))
    }

    @Test func oneSourceIsTheRunOfItsPath() throws {
        let sources = ["data.path=none", "data.sources=[{path: \(run.dataset.path), weight: 7}]"]
        try run.train("path")
        try run.train("source", lastStep: 9, set: sources)
        // The one may go on as the other.
        try run.train("source")
        #expect(try run.tensors("source", step: 20) == run.tensors("path", step: 20))
    }

    @Test func otherWeightsAreAnotherRun() throws {
        try run.train("run", lastStep: 2, set: mixture())
        #expect {
            try run.train("run", set: mixture(weight: 4))
        } throws: { error in
            "\(error)".contains("give data.sources what it was")
        }
        // What was refused has changed nothing.
        #expect(try RunConfiguration.load(run.path("run").configuration).data.sources.last?.weight == 3)
        let log = Mutex<[String]>([])
        try run.train("run", lastStep: 8, set: mixture()) { line in log.withLock { $0.append(line) } }
        let lines = log.withLock { $0 }
        #expect(
            lines.contains { $0.hasPrefix("data: \(other.path), digest ") && $0.contains("epochs of its 24 pairs") })
        #expect(
            lines.contains { $0.hasPrefix("data: from step 6 on: ") && $0.contains("75 % of the pairs") }, "\(lines)")
    }
}
