public import TransfusionSupport

/// Why a launch failed.
public struct FailureCause: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable, CaseIterable {
        /// A rank was ended by a signal.
        case signal
        /// The kernel ended a rank because memory ran out.
        case outOfMemory = "out_of_memory"
        /// A rank asked for memory that it did not get.
        case allocationFailure = "allocation_failure"
        /// A rank ended by itself with an exit code that means failure.
        case exit
        /// Ranks wait for one that does not come, or a rank does not move on.
        case hang
        /// A loss or a gradient was no number.
        case nonFinite = "non_finite"
        /// A disk, a quota or the inodes of a file system are used up.
        case noRoom = "no_room"
        /// A device, a server or the system does not do its work at the moment.
        case unavailable
        /// mpirun itself was ended.
        case launcher
        /// A host with ranks cannot be reached any more.
        case host
        /// The launch could not begin: hosts, programs, versions.
        case launch
        /// The coordinator was ended and came back.
        case coordinator
    }

    public var kind: Kind
    /// The rank that failed, as far as one is to blame.
    public var rank: Int?
    public var host: String?
    /// As in "SIGKILL".
    public var signal: String?
    public var exitCode: Int32?
    /// One sentence for people.
    public var summary: String
    /// What the program that failed says of it.
    public var record: FailureRecord?
    /// What helps to find the reason, such as the stack of each rank in a hang.
    public var details: [String] = []

    public init(
        _ kind: Kind, rank: Int? = nil, host: String? = nil, signal: String? = nil, exitCode: Int32? = nil,
        summary: String, details: [String] = [], record: FailureRecord? = nil
    ) {
        self.kind = kind
        self.rank = rank
        self.host = host
        self.signal = signal
        self.exitCode = exitCode
        self.summary = summary
        self.details = details
        self.record = record
    }

    /// Whether another launch can help.
    public var prospect: FailureRecord.Prospect { record?.kind.prospect ?? .again }
}
