internal import Foundation

/// A command of the package that a test runs as a process.
public struct Command: Sendable {
    public struct Result: Sendable {
        public let status: Int32
        /// The signal that ended the process, if one did.
        public let signal: Int32?
        public let output: String
        public let errors: String
    }

    private let executable: URL

    /// - Parameter name: The name of an executable that the test target depends on, such as `tf-ckpt`.
    public init(_ name: String) {
        // SwiftPM puts the executables beside the test bundle.
        executable = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
            .appendingPathComponent(name)
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
        executable = URL(filePath: path)
    }

    public var path: String { executable.path }

    /// Runs the command to its end.
    public func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Result {
        let process = Process()
        process.executableURL = executable
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        // Files instead of pipes: a process never blocks on output that nobody reads.
        let directory = try TemporaryDirectory()
        let outputs = try ["out", "err"].map { name in
            _ = FileManager.default.createFile(atPath: directory.file(name), contents: nil)
            return try FileHandle(forWritingTo: URL(fileURLWithPath: directory.file(name)))
        }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = outputs[0]
        process.standardError = outputs[1]
        try process.run()
        process.waitUntilExit()
        for output in outputs { try output.close() }
        let texts = try ["out", "err"].map {
            String(decoding: try Data(contentsOf: URL(fileURLWithPath: directory.file($0))), as: UTF8.self)
        }
        let killed = process.terminationReason == .uncaughtSignal
        return Result(
            status: process.terminationStatus, signal: killed ? process.terminationStatus : nil, output: texts[0],
            errors: texts[1])
    }

    public func run(_ arguments: String..., environment: [String: String] = [:]) throws -> Result {
        try run(arguments, environment: environment)
    }
}
