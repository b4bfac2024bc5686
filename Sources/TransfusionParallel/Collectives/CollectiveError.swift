/// Why a collective call failed, with the rank and the site that saw it.
public struct CollectiveError: Error, CustomStringConvertible, Equatable {
    public enum Reason: Equatable, Sendable {
        /// Another rank gave up; its own words.
        case abandoned(byRank: Int, message: String)
        /// A rank did not come to the call in time; `lastSite` is the last call that it did come to.
        case timedOut(waitingFor: Int, seconds: Double, lastSite: String)
        /// Two ranks made different calls.
        case mismatch(rank: Int, there: String, here: String)
        /// MPI or the operating system refused.
        case system(String)
    }

    /// The rank that reports, in the group called `group`.
    public let rank: Int
    public let group: String
    public let site: String
    public let reason: Reason

    public var description: String {
        let what =
            switch reason {
            case .abandoned(let byRank, let message): "rank \(byRank) gave up: \(message)"
            case .timedOut(let other, let seconds, let lastSite):
                "rank \(other) did not come within \(seconds) s; its last call was \(lastSite)"
            case .mismatch(let other, let there, let here):
                "the ranks disagree: rank \(other) calls \(there), rank \(rank) calls \(here)"
            case .system(let message): message
            }
        return "rank \(rank) of group '\(group)', in '\(site)': \(what)"
    }
}
