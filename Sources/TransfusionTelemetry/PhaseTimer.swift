internal import Synchronization

/// What a rank is doing.
public enum Phase: String, Sendable, CaseIterable, Codable {
    /// Before the first step: reading the data set, making or loading the model.
    case starting
    case data
    case compute
    case communication
    /// Inside a collective, until the other ranks arrive.
    case wait
    case checkpoint
    case sampling
    case validation
    case finished
}

/// Where the time of a rank goes, and where the rank is now.
///
/// The training thread moves it from phase to phase; other threads may look at any time.
public final class PhaseTimer: Sendable {
    public struct Position: Sendable, Equatable {
        public var step = 0
        public var phase = Phase.starting
        public var since = ContinuousClock.now
    }

    private struct StepTimes {
        var count = 0
        var spent: [Phase: Duration] = [:]
    }

    private struct State {
        var position = Position()
        var spent: [Phase: Duration] = [:]
        /// Of the step that is being done; nil before the first begins.
        var spentInStep: [Phase: Duration]?
        var finished = StepTimes()

        mutating func enter(_ phase: Phase) {
            let now = ContinuousClock.now
            spent[position.phase, default: .zero] += now - position.since
            spentInStep?[position.phase, default: .zero] += now - position.since
            position.phase = phase
            position.since = now
        }
    }

    private let state = Mutex(State())

    public init() {}

    public var position: Position { state.withLock(\.position) }

    /// Says that `step` begins; what is not measured as another phase is computation.
    public func begin(step: Int) {
        state.withLock {
            $0.position.step = step
            $0.enter(.compute)
            if let spent = $0.spentInStep {
                $0.finished.count += 1
                $0.finished.spent.merge(spent, uniquingKeysWith: +)
            }
            $0.spentInStep = [:]
        }
    }

    /// The mean seconds of each phase over the steps that ended since the last call; nil when none did.
    public func takeMeanStepSeconds() -> [Phase: Double]? {
        state.withLock { state in
            defer { state.finished = StepTimes() }
            guard state.finished.count > 0 else { return nil }
            return state.finished.spent.mapValues { $0 / .seconds(1) / Double(state.finished.count) }
        }
    }

    /// Moves to a phase until the next move.
    public func enter(_ phase: Phase) {
        state.withLock { $0.enter(phase) }
    }

    /// Counts the time of `body` to `phase`, and goes back to the phase before. Time is never counted to two phases.
    public func measure<Result, Failure: Error>(
        _ phase: Phase, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let outer = state.withLock {
            let outer = $0.position.phase
            $0.enter(phase)
            return outer
        }
        defer { enter(outer) }
        return try body()
    }

    /// The seconds of each phase since the last call.
    public func takeSeconds() -> [Phase: Double] {
        state.withLock { state in
            state.enter(state.position.phase)
            defer { state.spent = [:] }
            return state.spent.mapValues { $0 / .seconds(1) }
        }
    }
}
