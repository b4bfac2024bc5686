/// One thing that is wrong with a configuration.
public struct ConfigurationProblem: Error, Equatable, CustomStringConvertible {
    /// Where the value was written: `FILE:LINE`, or `--set`; nil when it concerns the configuration as a whole.
    public var origin: String?
    /// The key, as in `model.heads`; nil when the file is not a configuration at all.
    public let key: String?
    /// What is wrong and, where it can be said, what would be right.
    public let message: String

    init(_ key: String?, _ message: String, at origin: String? = nil) {
        self.origin = origin
        self.key = key
        self.message = message
    }

    public var description: String {
        [origin, key, message].compactMap(\.self).joined(separator: ": ")
    }
}

/// Everything that is wrong with a configuration, found in one go.
public struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    public let problems: [ConfigurationProblem]

    public init(problems: [ConfigurationProblem]) {
        self.problems = problems
    }

    /// One line a problem.
    public var description: String { problems.map(\.description).joined(separator: "\n") }
}
