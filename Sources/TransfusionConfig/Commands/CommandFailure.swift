internal import TransfusionCore

/// Why a command ends without having done its work.
public struct CommandFailure: Error, Equatable, CustomStringConvertible {
    /// The exit codes that all commands share.
    public enum Code: Int32, Sendable {
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

    public init(_ line: String, _ code: Code = .failure) {
        self.init([line], code)
    }

    public init(_ lines: [String], _ code: Code) {
        self.lines = lines
        self.code = code
    }

    /// What the commands report for any error: a wrong configuration is wrong use, all else what the error says of itself.
    public init(reporting error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as ConfigurationError: self.init(error.problems.map(\.description), .wrongUse)
        default:
            let isWrongUse = (error as? any UsageError)?.isWrongUse ?? false
            self.init("\(error)".replacing("\n", with: " "), isWrongUse ? .wrongUse : .failure)
        }
    }

    public var description: String { lines.joined(separator: "\n") }
}
