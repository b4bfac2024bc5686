internal import Foundation

/// A command of the package that a test runs as a process.
public struct Command: Sendable {
    public struct Result: Sendable {
        /// The exit code; for a process that a signal ended, the number of the signal.
        public let status: Int32
        /// The signal that ended the process, if one did.
        public let signal: Int32?
        public let output: String
        public let errors: String
    }

    public let path: String

    /// Longer than any command of a test takes on a busy machine, and shorter than a test may take.
    public static let patience = 240.0

    /// - Parameter name: The name of an executable that the test target depends on, such as `tf-ckpt`.
    public init(_ name: String) {
        // SwiftPM puts the executables beside the test bundle.
        path =
            URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent(name).path
    }

    /// A program of the system.
    public static func onPath(_ name: String) throws -> Command {
        let places = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(name)" }
        guard let place = places.first(where: FileManager.default.isExecutableFile(atPath:)) else {
            throw CocoaError(.fileNoSuchFile, userInfo: [NSFilePathErrorKey: name])
        }
        return Command(path: place)
    }

    public init(path: String) {
        self.path = path
    }

    /// The same with few descriptors: neither it nor what it starts can have more.
    public func limited(toDescriptors count: Int) -> LimitedCommand {
        LimitedCommand(command: self, descriptors: count)
    }

    /// Starts the command; it goes on beside the test.
    /// - Parameters:
    ///   - environment: What differs from the environment of the tests; nil takes a variable away.
    ///   - output: A file to which all output is added; nil to keep it for the result.
    public func start(
        _ arguments: [String], environment: [String: String?] = [:], output: String? = nil
    ) throws -> RunningCommand {
        try RunningCommand(path, arguments, environment: environment, output: output)
    }

    /// Runs the command to its end.
    /// - Throws: `RunningCommand.Overdue` when that takes too long; the command is then killed.
    public func run(
        _ arguments: [String], environment: [String: String?] = [:], within seconds: Double = patience
    ) throws -> Result {
        try start(arguments, environment: environment).wait(seconds: seconds)
    }

    /// Runs the command with all output to a device that has no room.
    public func runWithoutRoomForOutput(_ arguments: [String]) throws -> Result {
        try Command(path: "/bin/sh").run(["-c", "exec \"$0\" \"$@\" > /dev/full 2>&1", path] + arguments)
    }

    public func run(_ arguments: String..., environment: [String: String?] = [:]) throws -> Result {
        try run(arguments, environment: environment)
    }
}

/// A command that can have only so many descriptors.
public struct LimitedCommand: Sendable {
    let command: Command
    let descriptors: Int

    /// Starts the command; it goes on beside the test.
    public func start(
        _ arguments: [String], environment: [String: String?] = [:], output: String? = nil
    ) throws -> RunningCommand {
        // The shell becomes the command, with the same process number.
        try Command(path: "/bin/sh").start(
            ["-c", "ulimit -n \(descriptors) && exec \"$0\" \"$@\"", command.path] + arguments,
            environment: environment, output: output)
    }
}
