internal import TransfusionCore
public import TransfusionSupport

/// Why a command ends without having done its work.
public struct CommandFailure: RecordedError, Codable, Equatable, CustomStringConvertible {
    /// The exit codes that all commands share.
    public enum Code: Int32, Sendable, Codable {
        /// The work failed.
        case failure = 1
        /// The command was called in a way that cannot work: an option, a configuration, a path.
        case wrongUse = 2
        /// Not an error: everything is saved, and the run wants to be started again.
        case checkpointedAndStopped = 85
    }

    /// Each line names the file, option or rank concerned, and the remedy.
    public let lines: [String]
    public let code: Code
    /// The same for programs, where there is more to say than the code does.
    public var record: FailureRecord?

    public init(_ line: String, _ code: Code = .failure, record: FailureRecord? = nil) {
        self.init([line], code, record: record)
    }

    public init(_ lines: [String], _ code: Code, record: FailureRecord? = nil) {
        self.lines = lines
        self.code = code
        self.record = record ?? (code == .wrongUse ? FailureRecord(.wrongUse) : nil)
    }

    /// What the commands report for any error: a wrong configuration is wrong use, all else what the error says of itself.
    public init(reporting error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as SettingError: self.init("--\(error)", .wrongUse)
        case let error as ConfigurationError: self.init(error.problems.map(\.description), .wrongUse)
        default:
            let isWrongUse = (error as? any UsageError)?.isWrongUse ?? false
            self.init(
                "\(error)".replacing("\n", with: " "), isWrongUse ? .wrongUse : .failure,
                record: (error as? any RecordedError)?.record)
        }
    }

    /// With lines of a length that fits into a message.
    public var brief: CommandFailure {
        CommandFailure(lines.prefix(4).map { String($0.prefix(600)) }, code, record: record)
    }

    public var description: String { lines.joined(separator: "\n") }
}
