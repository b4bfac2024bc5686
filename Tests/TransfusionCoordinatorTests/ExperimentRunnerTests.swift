import Foundation
import Synchronization
import Testing
import TransfusionConfig
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionCoordinator

/// Experiments whose runs and commands are made up: what matters is what is done, and what not again.
struct ExperimentRunnerTests {
    private let temporary: TemporaryDirectory
    private var file: String { temporary.file("masks.yaml") }
    private var out: String { temporary.file("out") }

    init() throws {
        temporary = try TemporaryDirectory()
        try """
        model: {preset: tiny}
        data: {path: data/nowhere}
        schedule: {steps: 20, warmup_steps: 2}
        batch: {sequence_length: 256, global_sequences: 4}
        """.write(toFile: temporary.file("base.yaml"), atomically: true, encoding: .utf8)
        try write(measures: Self.measures)
    }

    private static let measures = """
        measures:
          image loss: {record: loss_image}
          perplexity: {commands: ["tf-eval perplexity -m {run} --seed {seed} --json"], value: of.tokens}
          bits: {commands: ["tf-eval perplexity -m {run} --seed {seed} --json"], value: of.bits.1}
        """

    private func write(measures: String, steps: Int = 20) throws {
        try """
        base: base.yaml
        set: {schedule.steps: \(steps)}
        seeds: [0, 1]
        \(measures)
        cells:
          causal: {set: {model.causal_images: true}, paper: {FID: 61.3}}
          both: {paper: {image loss: 0.5, FID: 20.3}}
        """.write(toFile: file, atomically: true, encoding: .utf8)
    }

    /// What a made-up world does and remembers.
    private final class World: Sendable {
        let done = Mutex<[String]>([])
        /// The person asks to stop when so many things are done.
        let stopsAfter = Mutex(Int.max)
        let failing = Mutex<Set<String>>([])

        var work: ExperimentRunner.Work {
            ExperimentRunner.Work(
                train: { [self] trial, run in
                    if isStopped { return .init(code: 85, reason: "stopped") }
                    done.withLock { $0.append("train \(trial.name)") }
                    if failing.withLock({ $0.contains(trial.name) }) { return .init(code: 1, reason: "no luck") }
                    try World.writeRun(trial, run)
                    return .init(code: 0, reason: "done")
                },
                call: { [self] words in
                    if isStopped { return nil }
                    let run = words.first { $0.contains("/runs/") } ?? ""
                    done.withLock { $0.append("\(words[1]) \(run.split(separator: "/").last ?? "")") }
                    return #"{"of": {"tokens": \#(words[5] == "0" ? 10 : 14), "bits": [1, null]}}"#
                },
                isStopped: { [self] in isStopped }, log: { _ in })
        }

        private var isStopped: Bool { done.withLock(\.count) >= stopsAfter.withLock(\.self) }

        static func writeRun(_ trial: ExperimentPlan.Trial, _ run: RunDirectory) throws {
            try run.enter(trial.configuration)
            let log = try MetricsLog(run.metrics, continuingAfter: 0)
            for step in 1...20 {
                try log.append(
                    StepRecord(
                        step: step, tokens: 100 * step, images: step, loss: 2, losses: ["image": 1 / Double(step)],
                        gradientNorm: 1, learningRate: 1, stepSeconds: 3, tokensPerSecond: 1,
                        modelFLOPsUtilization: 1, dataSeconds: 0, communicationSeconds: 0, waitSeconds: 0,
                        memoryBytes: 1))
            }
        }
    }

    private func run(_ world: World) async throws -> ExperimentRunner.Outcome {
        let plan = try ExperimentPlan(file)
        return try await ExperimentRunner(plan, in: ExperimentStore(out), world.work).run()
    }

    private static let everything = [
        "train causal-seed-0", "perplexity causal-seed-0", "train both-seed-0", "perplexity both-seed-0",
        "train causal-seed-1", "perplexity causal-seed-1", "train both-seed-1", "perplexity both-seed-1",
    ]

    private func report(_ name: String = "report.md") throws -> String {
        try String(contentsOfFile: "\(out)/\(name)", encoding: .utf8)
    }

    @Test func allIsTrainedMeasuredAndReported() async throws {
        let world = World()
        #expect(try await run(world) == .finished)
        #expect(world.done.withLock(\.self) == Self.everything)
        let text = try report()
        #expect(text.contains("4 of 4 runs are finished;"))
        #expect(text.contains("|  | image loss | image loss (paper) | perplexity | bits |"))
        #expect(text.contains("| causal | 0.05 ± 0 | – | 12 ± 2.8 | no number |"))
        #expect(text.contains("| both | 0.05 ± 0 | 0.5 | 12 ± 2.8 | no number |"))
        #expect(text.contains("| causal | 61.3 |\n| both | 20.3 |"))
        #expect(text.contains("| both-seed-1 | – | 20 | 2000 | 20 | 1m00s | – | – |"))
        #expect(text.contains("| causal | model.causal_images=true |"))
        let page = try report("report.html")
        #expect(page.contains("<svg") && page.contains("loss_image") && !page.contains("http://localhost"))
        #expect(page.components(separatedBy: "<polyline").count == 5)
    }

    /// However often it is stopped, nothing is done twice, and the report is that of one that was not.
    @Test(arguments: 1..<8) func itGoesOnWhereItWasStopped(_ after: Int) async throws {
        let world = World()
        world.stopsAfter.withLock { $0 = after }
        #expect(try await run(world) == .stopped)
        #expect(world.done.withLock(\.self) == Array(Self.everything.prefix(after)))
        world.stopsAfter.withLock { $0 = .max }
        #expect(try await run(world) == .finished)
        #expect(world.done.withLock(\.self) == Self.everything)
        #expect(try report().contains("4 of 4 runs are finished;"))
        #expect(try report().contains("| both | 0.05 ± 0 | 0.5 | 12 ± 2.8 | no number |"))
    }

    @Test func whatIsFinishedStaysSoWithoutItsRun() async throws {
        let world = World()
        #expect(try await run(world) == .finished)
        let before = try report()
        try FileManager.default.removeItem(atPath: out + "/runs")
        #expect(try await run(world) == .finished)
        #expect(world.done.withLock(\.count) == 8)
        #expect(try report() == before)
    }

    @Test func aNewMeasureIsTakenOfRunsThatAreTrained() async throws {
        let world = World()
        _ = try await run(world)
        try write(measures: Self.measures + "\n  loss: {record: loss}")
        #expect(try await run(world) == .finished)
        #expect(world.done.withLock(\.count) == 8)
        #expect(try report().contains("| bits | loss |"))
    }

    @Test func aRunThatFailsDoesNotStopTheOthersAndIsTriedAgain() async throws {
        let world = World()
        world.failing.withLock { $0 = ["both-seed-0"] }
        #expect(try await run(world) == .failed(["both-seed-0: no luck"]))
        #expect(world.done.withLock(\.self) == Self.everything.filter { $0 != "perplexity both-seed-0" })
        #expect(try report().contains("| both | 0.05 (1) | 0.5 | 14 (1) | no number |"))
        world.failing.withLock { $0 = [] }
        #expect(try await run(world) == .finished)
        #expect(world.done.withLock(\.self).suffix(2) == ["train both-seed-0", "perplexity both-seed-0"])
    }

    @Test func measuresThatTellNothingAreNamed() async throws {
        try write(
            measures: """
                measures:
                  a: {record: validation_loss}
                  b: {commands: [tf-eval perplexity -m x --seed 0], value: of.nothing}
                """)
        guard case .failed(let lines) = try await run(World()) else {
            Issue.record("it must fail")
            return
        }
        #expect(lines.count == 8)
        #expect(
            lines[0].hasPrefix("causal-seed-0: measure a: no record of ") && lines[0].contains("evaluation.every_steps")
        )
        #expect(lines[1] == "causal-seed-0: measure b: tf-eval perplexity: prints no nothing; there are bits, tokens")
    }

    @Test func otherSettingsInTheSameDirectoryAreRefused() async throws {
        _ = try await run(World())
        try write(measures: Self.measures, steps: 30)
        do {
            _ = try await run(World())
            Issue.record("it must be refused")
        } catch let failure as CommandFailure {
            #expect(failure.code == .wrongUse && failure.lines.count == 4)
            #expect(
                failure.lines[0].contains(
                    "causal-seed-0 was begun with another configuration (schedule.steps: 20 → 30)"))
        }
    }

    @Test func twoAtOnceAreRefused() throws {
        let store = try ExperimentStore(out)
        #expect(throws: CommandFailure.self) { _ = try ExperimentStore(out) }
        _ = store
    }

    @Test func allCellsAreCheckedBeforeTheFirstRun() throws {
        try """
        base: base.yaml
        set: {batch.global_sequences: 6}
        cells:
          a: {set: {model.patsh: 4}}
          b: {set: {batch.micro_sequences: 4}}
          c: {set: {model.heads: 7}}
          d: {set: {batch.micro_sequences: 4}}
        """.write(toFile: file, atomically: true, encoding: .utf8)
        do {
            _ = try ExperimentPlan(file)
            Issue.record("it must be refused")
        } catch let failure as CommandFailure {
            #expect(failure.code == .wrongUse && failure.lines.count == 3, "\(failure)")
            #expect(
                failure.lines[0].hasSuffix(
                    "masks.yaml: cell a: --set model.patsh=4: model.patsh: there is no such key; did you mean model.patch?"
                ))
            #expect(
                failure.lines[1].contains("cells b, d: ")
                    && failure.lines[1].contains("batch.micro_sequences: 4 does not divide"))
            #expect(failure.lines[2].contains("cell c: ") && failure.lines[2].contains("model.heads"))
        }
    }
}
