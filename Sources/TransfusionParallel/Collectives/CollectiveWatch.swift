import Synchronization

/// Which collective calls of this process are under way, and how long calls have taken; readable from any thread.
///
/// The heartbeat thread reads it, so that a hang can be reported as rank, site and seconds.
public final class CollectiveWatch: Sendable {
    /// A call under way.
    public struct Activity: Sendable, Equatable {
        /// The name of the call site.
        public let site: String
        /// The group that it talks to: "world", "data", "tensor".
        public let group: String
        /// How long it has taken so far.
        public let seconds: Double
    }

    private struct Call {
        let site: StaticString
        let group: String
        let start: ContinuousClock.Instant
    }

    private struct State {
        var calls: [Int: Call] = [:]
        var nextToken = 0
    }

    private let state = Mutex(State())

    public init() {}

    /// The call that has been under way for longest, if there is one.
    public var current: Activity? {
        state.withLock { state in
            state.calls.values.min { $0.start < $1.start }.map {
                Activity(site: $0.site.description, group: $0.group, seconds: ($0.start.duration(to: .now)).seconds)
            }
        }
    }

    /// Runs one call and remembers it while it lasts.
    func during<Result>(_ site: StaticString, group: String, _ call: () throws -> Result) rethrows -> Result {
        let start = ContinuousClock.now
        let token = state.withLock { state in
            state.nextToken += 1
            state.calls[state.nextToken] = Call(site: site, group: group, start: start)
            return state.nextToken
        }
        defer { state.withLock { $0.calls[token] = nil } }
        return try call()
    }
}

extension Duration {
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
