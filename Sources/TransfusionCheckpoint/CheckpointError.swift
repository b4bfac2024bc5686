/// What is wrong with a checkpoint or a file of tensors: where, what, and where possible what to do.
public struct CheckpointError: Error, Equatable, Codable, CustomStringConvertible {
    /// The file or directory.
    public let path: String
    /// What is wrong with it, as a sentence that begins with the verb: "ends at byte 17".
    public let problem: String
    /// Which of several ranks met it.
    public internal(set) var rank: Int?
    /// Whether a newer transfusion wrote it: that it cannot be read here is no sign of damage.
    var isOfNewerVersion = false

    public init(_ path: String, _ problem: String, rank: Int? = nil) {
        self.path = path
        self.problem = problem
        self.rank = rank
    }

    public var description: String { "\(path): \(problem)\(rank.map { " (rank \($0))" } ?? "")" }
}

extension CheckpointError {
    /// Any error of work on a checkpoint, as one rank tells it to the others.
    /// - Parameter path: What is concerned, when the error does not say.
    init(_ error: any Error, at path: String) {
        switch error {
        case let error as CheckpointError: self = error
        case let error as FileSystemError: self.init(error.path, "cannot \(error.operation): \(error.reason)")
        default: self.init(path, "\(error)")
        }
    }
}
