import Testing
import TransfusionConfig
import TransfusionSupport
import TransfusionTelemetry

@testable import TransfusionCoordinator

@Suite struct FailureDetectorTests {
    private let bounds: RunConfiguration.Supervision

    init() throws {
        bounds = try RunConfiguration(
            yaml: """
                model: {preset: tiny}
                data: {path: d}
                schedule: {steps: 5000}
                batch: {global_sequences: 8}
                supervision: {start_timeout: 60, heartbeat_timeout: 5, step_timeout: 20, save_timeout: 100}
                """
        ).supervision
    }

    private func heartbeat(
        _ rank: Int, step: Int = 0, _ phase: Phase = .compute, collective: String? = nil, compute: Double = 1
    ) -> Heartbeat {
        var heartbeat = Heartbeat(
            rank: rank, host: "host", pid: Int32(100 + rank), step: step, phase: phase, phaseSeconds: 0, time: 0,
            memoryBytes: 0)
        heartbeat.collective = collective
        heartbeat.collectiveSeconds = collective == nil ? nil : 7
        heartbeat.computeSeconds = compute
        return heartbeat
    }

    /// Sends what `heartbeats` gives every second, and returns the first finding with its time.
    private func run(
        _ detector: inout FailureDetector, to end: Double, _ heartbeats: (Double) -> [Heartbeat]
    ) -> (time: Double, finding: FailureDetector.Finding)? {
        for tick in 0...Int(end * 10) {
            let now = Double(tick) / 10
            if tick % 10 == 0 { heartbeats(now).forEach { detector.receive($0, at: now) } }
            if let finding = detector.finding(at: now) { return (now, finding) }
        }
        return nil
    }

    @Test func aRunThatMovesOnIsWell() {
        var detector = FailureDetector(ranks: 2, bounds: bounds, at: 0)
        let found = run(&detector, to: 300) { now in [0, 1].map { heartbeat($0, step: Int(now / 10)) } }
        #expect(found == nil)
        #expect(detector.step == 30 && detector.hasStarted && !detector.hasFinished)
    }

    @Test func aProcessThatEndsIsFoundAtOnce() {
        var detector = FailureDetector(ranks: 2, bounds: bounds, at: 0)
        #expect(run(&detector, to: 3) { now in [0, 1].map { heartbeat($0, step: Int(now)) } } == nil)
        detector.processEnded(rank: 1, at: 3)
        let found = detector.finding(at: 3.1)
        #expect(found == .processGone(rank: 1))
        #expect(detector.condition(of: 1, at: 3.1) == .dead && detector.condition(of: 0, at: 3.1) == .ok)
    }

    @Test func ranksThatFinishMayLeave() {
        var detector = FailureDetector(ranks: 2, bounds: bounds, at: 0)
        for rank in [0, 1] { detector.receive(heartbeat(rank, step: 9, .finished), at: 1) }
        detector.processEnded(rank: 0, at: 1)
        detector.processEnded(rank: 1, at: 1.5)
        let found = (2...60).compactMap { detector.finding(at: Double($0)) }
        #expect(found.isEmpty)
        #expect(detector.hasFinished)
    }

    @Test func aLaunchThatDoesNotEndThoughItsRanksAreDoneIsFound() throws {
        var detector = FailureDetector(ranks: 2, bounds: bounds, at: 0)
        let found = try #require(
            run(&detector, to: 200) { now in now < 10 ? [0, 1].map { heartbeat($0, step: 9, .finished) } : [] })
        guard case .notLeaving = found.finding else {
            Issue.record("\(found)")
            return
        }
        #expect(found.time > 108 && found.time < 111)
    }

    @Test func aRankThatGivesUpAloneIsFound() {
        var detector = FailureDetector(ranks: 2, bounds: bounds, at: 0)
        detector.receive(heartbeat(0, step: 9, .finished), at: 1)
        detector.receive(heartbeat(1, step: 9), at: 1)
        detector.processEnded(rank: 0, at: 1)
        let early = detector.finding(at: 2)
        #expect(early == nil)
        detector.receive(heartbeat(1, step: 9, .wait, collective: "losses"), at: 3.5)
        let late = detector.finding(at: 3.5)
        #expect(late == .processGone(rank: 0))
    }

    @Test func silenceIsFoundWithinItsBound() throws {
        var detector = FailureDetector(ranks: 3, bounds: bounds, at: 0)
        let found = try #require(
            run(&detector, to: 60) { now in
                [0, 1, 2].filter { $0 != 1 || now < 10 }
                    .map { heartbeat($0, step: Int(min(now, 10)), .wait, collective: now < 10 ? nil : "losses") }
            })
        guard case .silent(ranks: [1], _) = found.finding else {
            Issue.record("\(found)")
            return
        }
        #expect(found.time > 14 && found.time < 16)
        #expect(detector.waiting(besides: [1])?.ranks == [0, 2])
        #expect(detector.waiting(besides: [1])?.collective == "losses")
    }

    @Test func theRankThatTheOthersWaitForIsNamed() throws {
        var detector = FailureDetector(ranks: 4, bounds: bounds, at: 0)
        let found = try #require(
            run(&detector, to: 100) { now in
                (0..<4).map { heartbeat($0, step: 3, .wait, collective: $0 == 2 ? nil : "end of backward") }
            })
        guard case .stuck(let suspects, let waiting, let seconds) = found.finding else {
            Issue.record("\(found)")
            return
        }
        #expect(suspects == [2] && waiting?.collective == "end of backward" && waiting?.ranks == [0, 1, 3])
        #expect(seconds > 20 && found.time < 22)
    }

    @Test func aRankThatIsAStepBehindIsNamed() throws {
        var detector = FailureDetector(ranks: 3, bounds: bounds, at: 0)
        let found = try #require(
            run(&detector, to: 100) { _ in (0..<3).map { heartbeat($0, step: $0 == 0 ? 3 : 4, .wait, collective: "x") }
            })
        guard case .stuck(suspects: [0], _, _) = found.finding else {
            Issue.record("\(found)")
            return
        }
    }

    @Test func savingHasABoundOfItsOwn() throws {
        var detector = FailureDetector(ranks: 2, bounds: bounds, at: 0)
        let found = try #require(
            run(&detector, to: 300) { now in [0, 1].map { heartbeat($0, step: 5, now < 10 ? .compute : .checkpoint) } })
        #expect(found.time > 109 && found.time < 112)
    }

    @Test func aRankThatNeverBeginsIsNamed() throws {
        var detector = FailureDetector(ranks: 2, bounds: bounds, at: 0)
        let found = try #require(run(&detector, to: 100) { _ in [heartbeat(0)] })
        guard case .notStarted(ranks: [1], _) = found.finding else {
            Issue.record("\(found)")
            return
        }
        #expect(found.time > 59 && found.time < 62)
    }

    @Test func aPauseOfTheCoordinatorIsNoSilence() {
        var detector = FailureDetector(ranks: 1, bounds: bounds, at: 0)
        detector.receive(heartbeat(0, step: 1), at: 0)
        let afterPause = [0.1, 1000, 1001].compactMap { detector.finding(at: $0) }
        #expect(afterPause.isEmpty)
        let later = (1002...1010).compactMap { detector.finding(at: Double($0)) }
        #expect(!later.isEmpty)
    }

    @Test func aStragglerIsTheOneThatComputes() {
        var detector = FailureDetector(ranks: 3, bounds: bounds, at: 0)
        for beat in 0..<4 {
            for rank in 0..<3 {
                detector.receive(heartbeat(rank, step: beat, compute: rank == 1 ? 2 : 1), at: Double(beat))
            }
        }
        #expect(detector.condition(of: 1, at: 3) == .slow)
        #expect(detector.condition(of: 0, at: 3) == .ok && detector.condition(of: 2, at: 3) == .ok)
        #expect(detector.stragglers.map(\.rank) == [1])
        let found = detector.finding(at: 3)
        #expect(found == nil, "slow is not failed")
    }

    @Test func heartbeatsOfRanksThatDoNotExistAreIgnored() {
        var detector = FailureDetector(ranks: 1, bounds: bounds, at: 0)
        detector.receive(heartbeat(7), at: 0)
        detector.receive(heartbeat(-1), at: 0)
        #expect(detector.heartbeats(at: 0).isEmpty)
        for rank in [-1, 1, 1_000_000, .max] {
            detector.processEnded(rank: rank, at: 0)
            #expect(!detector.hasEnded(rank: rank) && detector.heartbeat(of: rank) == nil)
            #expect(detector.condition(of: rank, at: 0) == .stale)
        }
    }

    @Test func ranksThatWaitToSaveDoNotHang() {
        var waiting = heartbeat(0, step: 9, .checkpoint)
        waiting.waitsFor = FailureRecord(.noRoom, file: "/run/checkpoints")
        var detector = FailureDetector(ranks: 1, bounds: bounds, at: 0)
        let found = run(&detector, to: 500) { _ in [waiting] }
        #expect(found == nil)
        #expect(detector.obstacle == waiting.waitsFor)
        var other = FailureDetector(ranks: 1, bounds: bounds, at: 0)
        let hang = run(&other, to: 500) { _ in [heartbeat(0, step: 9, .checkpoint)] }
        #expect(hang != nil)
    }

    @Test func theRankThatMetAFailureSpeaksForAll() {
        var detector = FailureDetector(ranks: 3, bounds: bounds, at: 0)
        let full = CommandFailure("no room", record: FailureRecord(.noRoom, rank: 2, file: "/run"))
        for (rank, failure) in [nil, CommandFailure("the others have gone"), full].enumerated() {
            var heartbeat = heartbeat(rank, .finished)
            heartbeat.failure = failure
            detector.receive(heartbeat, at: 0)
        }
        #expect(detector.failure == full)
    }
}
