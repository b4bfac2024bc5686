internal import Synchronization
public import Testing

/// Lets the suites that have it run one after another, of whatever test target they are, while other tests go on.
///
/// Ranks of several jobs at once on a few processors wait for each other rather than compute, and what they wait for is
/// measured by the bounds that the tests set.
public struct OneSuiteAtATime: SuiteTrait, TestScoping {
    private static let turn = Turn()

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        await Self.turn.take()
        defer { Self.turn.pass() }
        try await function()
    }
}

extension Trait where Self == OneSuiteAtATime {
    /// For suites that start jobs of several processes.
    public static var oneSuiteAtATime: Self { Self() }
}

/// Belongs to one task at a time; the others wait in the order in which they came.
private final class Turn: Sendable {
    private struct State {
        var isTaken = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func take() async {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                defer { state.isTaken = true }
                if state.isTaken { state.waiting.append(continuation) }
                return !state.isTaken
            }
            if isFree { continuation.resume() }
        }
    }

    func pass() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard !state.waiting.isEmpty else {
                state.isTaken = false
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume()
    }
}
