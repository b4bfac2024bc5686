internal import Glibc

/// Why a program ended, for other programs: they decide by it whether to start it again, and never by words for people.
public struct FailureRecord: Sendable, Codable, Equatable {
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// The call, the configuration, a key: as long as nobody changes it, the same happens again.
        case wrongUse = "wrong_use"
        /// A disk, a quota, or the inodes of a file system are used up.
        case noRoom = "no_room"
        /// A device or a server does not do its work.
        case inputOutput = "input_output"
        /// The system has no more processes or descriptors to give at the moment.
        case noResources = "no_resources"
        /// A loss or a gradient is no number.
        case nonFinite = "non_finite"
        case other

        /// Whether it is worth to start again.
        public var prospect: Prospect {
            switch self {
            case .wrongUse: .never
            case .noRoom, .inputOutput, .noResources: .later
            case .nonFinite, .other: .again
            }
        }
    }

    public enum Prospect: Sendable, Equatable {
        /// Wrong for good: the same would happen again.
        case never
        /// Impossible at the moment: to be tried when what stands in the way is gone. It is no failure of the run.
        case later
        /// A failure, which may not happen again.
        case again
    }

    public var kind: Kind
    /// The rank that met it.
    public var rank: Int?
    /// The step that was being done.
    public var step: Int?
    /// What could not be used.
    public var file: String?

    public init(_ kind: Kind, rank: Int? = nil, step: Int? = nil, file: String? = nil) {
        self.kind = kind
        self.rank = rank
        self.step = step
        self.file = file
    }

    /// What an error of the operating system means.
    /// - Parameter code: The `errno` value.
    public init(errno code: Int32, file: String?) {
        let kind: Kind =
            switch code {
            case ENOSPC, EDQUOT: .noRoom
            case EIO, ESTALE, ETIMEDOUT, EREMOTEIO, ENXIO, ENODEV, ENOTCONN, EHOSTDOWN, EHOSTUNREACH, ESHUTDOWN:
                .inputOutput
            case EMFILE, ENFILE, EAGAIN: .noResources
            default: .other
            }
        self.init(kind, file: file)
    }
}

/// An error that says what it is in a form for programs.
public protocol RecordedError: Error {
    /// nil where there is nothing to say beside its words.
    var record: FailureRecord? { get }
}
