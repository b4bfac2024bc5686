public import TransfusionConfig
public import TransfusionTelemetry

/// What an HTTP server can ask of the runs that a coordinator knows: one for `tf-coord run`, many for `tf-coord serve`.
///
/// Every call that names a run throws `RunControlError.unknownRun` when there is none of that name.
public protocol RunControl: Sendable {
    /// All runs, those that were submitted last first.
    func runs() async -> [RunSummary]

    func status(of run: String) async throws -> RunStatus

    /// Where the run keeps its metrics, samples and checkpoints.
    func directory(of run: String) async throws -> RunDirectory

    /// Takes a rank's sign of life.
    /// - Parameter launch: The launch that the rank belongs to; heartbeats of an earlier one are ignored.
    func receive(_ heartbeat: Heartbeat, launch: String, run: String) async throws -> HeartbeatAnswer

    /// Takes a new run, or one that has ended and shall go on with these settings.
    func submit(_ submission: RunSubmission) async throws -> RunSummary

    /// Asks the run to save and end; `now` ends it at once, without saving.
    func stop(_ run: String, now: Bool) async throws

    /// Continues a run that was stopped or failed.
    func resume(_ run: String) async throws

    /// The hosts that runs are placed on.
    func hosts() async -> [RunStatus.HostStatus]

    /// Who a token belongs to; nil if to nobody. Takes the same time for every token.
    func access(for token: String) async -> Access?

    /// Makes a token that may look at everything and change nothing.
    /// - Parameters:
    ///   - name: What it is revoked by; several tokens may have one.
    ///   - lifetime: Seconds after which it is worth nothing; nil for never.
    func issueViewerToken(_ name: String, lifetime: Double?) async throws -> String

    /// Takes back all tokens of a name.
    func revokeViewerTokens(_ name: String) async throws
}

/// What the bearer of a token may do.
public enum Access: Sendable, Equatable {
    /// Send heartbeats of this run.
    case worker(run: String)
    /// Look at everything, and change nothing.
    case viewer
    /// Everything.
    case control
}

/// Why a request of `RunControl` cannot be met.
public enum RunControlError: Error, Equatable, CustomStringConvertible {
    case unknownRun(String)
    /// The run exists, but is not in a state in which it can do that.
    case conflict(String)
    /// What was submitted makes no sense.
    case invalid(String)

    public var description: String {
        switch self {
        case .unknownRun(let run): "there is no run \"\(run)\"; 'tf-coord status' lists all"
        case .conflict(let reason), .invalid(let reason): reason
        }
    }
}
