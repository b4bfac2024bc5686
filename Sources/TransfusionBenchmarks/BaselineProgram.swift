internal import Foundation
internal import TransfusionConfig

/// Another program that measures itself, in turn with ours.
public struct BaselineProgram: Sendable {
    /// For the shell; its last line is one JSON object.
    public let command: String
    /// A key that the object must have, for the error message.
    public let key: String

    public init(_ command: String, printing key: String) {
        self.command = command
        self.key = key
    }

    /// - Throws: `CommandFailure` when it fails, or prints something else.
    public func run<Result: Decodable>() throws -> Result {
        let process = Process(), output = Pipe()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", command]
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0, let line = text.split(separator: "\n").last,
            let result = try? JSONDecoder().decode(Result.self, from: Data(line.utf8))
        else {
            throw CommandFailure(
                "'\(command)' ended with \(process.terminationStatus) and no JSON line with \(key)", .wrongUse)
        }
        return result
    }
}
