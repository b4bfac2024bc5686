internal import Subprocess
internal import SystemPackage

/// A program that should soon be done, and is ended with everything that it has started if it is not.
enum ShortCommand {
    struct Result: Sendable {
        let isSuccess: Bool
        let output: String
        let errors: String
    }

    /// Runs a program: a path, or a name to be found on the PATH.
    /// - Returns: nil when there is none, or when the time was not enough; also for descriptors to be free.
    static func run(_ program: String, _ arguments: [String], within seconds: Double) async -> Result? {
        let executable: Executable = program.contains("/") ? .path(FilePath(program)) : .name(program)
        return await Deadline.run(within: seconds) {
            while Descriptors.shortage() != nil {
                do { try await Task.sleep(for: .milliseconds(50)) } catch { return nil }
            }
            var options = PlatformOptions()
            options.createSession = true
            options.teardownSequence = [
                .gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: .milliseconds(200))
            ]
            let result = try? await Subprocess.run(
                executable, arguments: Arguments(arguments), platformOptions: options,
                output: .string(limit: 4 << 20), error: .string(limit: 1 << 20))
            return result.map {
                Result(isSuccess: $0.terminationStatus.isSuccess, output: $0.standardOutput, errors: $0.standardError)
            }
        }
    }
}

/// A bound for work that may never come to an end.
enum Deadline {
    /// - Returns: What the work gave; nil when the time is over, or the caller was cancelled. The work is then cancelled,
    ///   and nobody waits for it: a process that the kernel does not end must not stop the coordinator.
    static func run<Value: Sendable>(
        within seconds: Double, _ work: @escaping @Sendable () async -> Value?
    ) async -> Value? {
        let (results, continuation) = AsyncStream.makeStream(of: Value?.self)
        let tasks = [
            Task { _ = continuation.yield(await work()) },
            Task {
                try? await Task.sleep(for: .seconds(seconds))
                continuation.yield(nil)
            },
        ]
        defer { for task in tasks { task.cancel() } }
        for await first in results { return first }
        return nil
    }
}
