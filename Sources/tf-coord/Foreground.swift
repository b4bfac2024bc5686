import ArgumentParser
import Foundation
import Synchronization
import TransfusionConfig
import TransfusionCoordinator

/// Supervises a run in the foreground, for `run` and `resume`.
enum Foreground {
    /// Ends the process with the exit code that the end of the run means.
    static func supervise(_ request: RunRequest, _ settings: CoordinatorServer.Settings) throws -> Never {
        StopRequests.install()
        let console = Console()
        let run = ForegroundRun(request, settings: settings)
        let exit = try waitFor {
            try await run.run(log: console.say, progress: console.show, stopRequests: { StopRequests.count })
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
        FileHandle.standardError.write(Data("\(line)\n".utf8))
    }
}

/// Counts the signals that ask the coordinator to stop.
private enum StopRequests {
    private static let received = Atomic<Int>(0)

    static func install() {
        for number in [SIGINT, SIGTERM, SIGUSR1] {
            signal(number) { _ in _ = StopRequests.received.add(1, ordering: .relaxed) }
        }
        // The end of a terminal is no wish to stop.
        signal(SIGHUP, SIG_IGN)
        signal(SIGPIPE, SIG_IGN)
    }

    static var count: Int { received.load(ordering: .relaxed) }
}

/// Lines, and below them one that is renewed; without a terminal, a line every minute.
private final class Console: Sendable {
    private let isTerminal = isatty(STDOUT_FILENO) == 1
    private let lastLine = Mutex(ContinuousClock.now - .seconds(3600))

    func say(_ line: String) {
        lastLine.withLock { _ in
            write((isTerminal ? "\r\u{1B}[K" : "") + StatusText.printable("tf-coord: \(line)") + "\n")
        }
    }

    func show(_ status: RunStatus) {
        let line = StatusText.printable(StatusText(status).progressLine)
        lastLine.withLock { last in
            if isTerminal {
                write("\r\(line.prefix(columns - 1))\u{1B}[K")
            } else if ContinuousClock.now - last > .seconds(60), status.step > 0 {
                last = .now
                write(line + "\n")
            }
        }
    }

    func clear() {
        if isTerminal { write("\r\u{1B}[K") }
    }

    private var columns: Int {
        var size = winsize()
        return ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    private func write(_ text: String) {
        FileHandle.standardOutput.write(Data(text.utf8))
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
