/// How often, and after what wait, a run is started again: failures in a row use the budget up, progress refills it.
public struct RestartBudget: Sendable, Codable, Equatable {
    /// Failures since the last progress.
    public private(set) var failures = 0
    /// The newest checkpoint at the last failure.
    private var checkpoint: Int?
    /// The step at which numbers were not finite the last time.
    private var nonFiniteStep: Int?

    private static let longestWait = 300.0

    public init() {}

    public func left(of limit: Int) -> Int { max(0, limit - failures) }

    /// Takes note of a failure.
    /// - Parameters:
    ///   - checkpoint: The step of the newest checkpoint.
    ///   - limit: Failures in a row that are answered with a restart.
    ///   - backoff: Seconds before the second restart in a row.
    /// - Returns: Seconds to wait before the restart; nil when there shall be none.
    public mutating func failed(checkpoint: Int?, limit: Int, backoff: Double) -> Double? {
        if checkpoint ?? 0 > self.checkpoint ?? 0 { failures = 0 }
        self.checkpoint = checkpoint
        failures += 1
        guard failures <= limit else { return nil }
        guard failures > 1 else { return 0 }
        return Self.wait(failures - 1, from: backoff)
    }

    /// Seconds to wait after a number of tries in vain: twice as long each time, up to a bound.
    static func wait(_ number: Int, from first: Double) -> Double {
        min(longestWait, first * Double(1 << min(20, max(0, number - 1))))
    }

    /// Takes note of numbers that are not finite. The same step computes the same numbers: once more shows whether the
    /// machine or the run is at fault, and more often is no use.
    /// - Returns: Whether the run may be started again.
    public mutating func failedOnNumbers(step: Int) -> Bool {
        defer { nonFiniteStep = step }
        return nonFiniteStep != step
    }
}
