import ArgumentParser
import Foundation
import Synchronization
import TransfusionConfig
import TransfusionCoordinator

/// Supervises a run in the foreground, for `run` and `resume`.
enum Foreground {
    /// Ends the process with the exit code that the end of the run means.
    static func supervise(_ request: RunRequest, _ settings: CoordinatorServer.Settings) throws -> Never {
        let console = Console()
        let run = ForegroundRun(request, settings: settings)
        let exit = try waitFor {
            try await run.run(
                log: console.say, onListening: { console.show($0, hint: "tf-coord dashboard \(request.directory)") },
                progress: console.show, stopRequests: { StopRequests.count })
        }
        console.clear()
        switch exit.code {
        case 0: print("done: \(exit.reason)")
        case CommandFailure.Code.checkpointedAndStopped.rawValue: complain("stopped: \(exit.reason)")
        default: complain("error: \(exit.reason)")
        }
        // At once: threads may still verify a checkpoint, and libraries that clean up would wait for them, or pull away
        // what they use.
        fflush(nil)
        _exit(exit.code)
    }

    private static func complain(_ line: String) {
        StandardStream.error.write("\(line)\n")
    }
}

/// Runs asynchronous work from a synchronous command.
func waitFor<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) throws -> Value {
    let result = Mutex<Result<Value, any Error>?>(nil)
    let done = DispatchSemaphore(value: 0)
    Task.detached {
        let value: Result<Value, any Error>
        do { value = .success(try await body()) } catch { value = .failure(error) }
        result.withLock { $0 = value }
        done.signal()
    }
    done.wait()
    guard let value = result.withLock({ $0 }) else { preconditionFailure("the work ended without a result") }
    return try value.get()
}
