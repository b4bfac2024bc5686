/// A run in a list of many: a few lines of its `RunStatus`.
public struct RunSummary: Codable, Sendable, Equatable {
    public var run: String
    public var directory: String
    public var state: RunStatus.State
    public var step: Int
    public var steps: Int
    /// How much of the run is done, from 0 to 100.
    public var percent: Double
    public var etaSeconds: Double?
    public var loss: Double?
    public var tokensPerSecond: Double?
    /// Ranks of the present launch.
    public var ranks: Int
    public var restarts: Int
    public var warnings: [String]
    public var exit: RunStatus.Exit?

    public init(_ status: RunStatus) {
        run = status.run
        directory = status.directory
        state = status.state
        step = status.step
        steps = status.steps
        percent = status.percent
        etaSeconds = status.etaSeconds
        loss = status.losses?.total
        tokensPerSecond = status.tokensPerSecond
        ranks = status.state.isFinal ? 0 : status.layout?.ranks ?? 0
        restarts = status.restarts.count
        warnings = status.warnings
        exit = status.exit
    }
}
