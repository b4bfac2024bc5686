public import TransfusionCore
public import TransfusionSupport

/// What is wrong with a checkpoint or a file of tensors: where, what, and where possible what to do.
public struct CheckpointError: UsageError, RecordedError, Equatable, Codable {
    /// The file or directory.
    public let path: String
    /// What is wrong with it, as a sentence that begins with the verb: "ends at byte 17".
    public let problem: String
    /// Which of several ranks met it.
    public internal(set) var rank: Int?
    var reason = Reason.contents

    /// What lies behind a problem.
    enum Reason: Equatable, Codable {
        /// What is there, or not there.
        case contents
        /// A newer transfusion wrote it: that it cannot be read here is no sign of damage.
        case newerVersion
        /// The key is missing, is none, or is another one: what it would open may be good.
        case key
        /// The operating system's error, by its `errno` value.
        case system(Int32)
    }

    public init(_ path: String, _ problem: String, rank: Int? = nil) {
        self.path = path
        self.problem = problem
        self.rank = rank
    }

    public var description: String { "\(path): \(problem)\(rank.map { " (rank \($0))" } ?? "")" }
}

extension CheckpointError {
    init(_ path: String, _ problem: String, reason: Reason) {
        self.init(path, problem)
        self.reason = reason
    }

    public var isWrongUse: Bool { reason == .key || reason == .newerVersion }

    public var record: FailureRecord? {
        guard case .system(let code) = reason else { return nil }
        var record = FailureRecord(errno: code, file: path)
        record.rank = rank
        return record
    }

    /// Any error of work on a checkpoint, as one rank tells it to the others.
    /// - Parameter path: What is concerned, when the error does not say.
    init(_ error: any Error, at path: String) {
        switch error {
        case let error as CheckpointError: self = error
        case let error as FileSystemError:
            self.init(error.path, "cannot \(error.operation): \(error.reason)", reason: .system(error.code))
        default: self.init(path, "\(error)")
        }
    }
}
