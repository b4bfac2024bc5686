/// What is wrong with a checkpoint or a file of tensors: where, what, and where possible what to do.
public struct CheckpointError: Error, Equatable, CustomStringConvertible {
    /// The file or directory.
    public let path: String
    /// What is wrong with it, as a sentence that begins with the verb: "ends at byte 17".
    public let problem: String
    /// Which of several ranks met it.
    public let rank: Int?

    public init(_ path: String, _ problem: String, rank: Int? = nil) {
        self.path = path
        self.problem = problem
        self.rank = rank
    }

    public var description: String { "\(path): \(problem)\(rank.map { " (rank \($0))" } ?? "")" }
}
