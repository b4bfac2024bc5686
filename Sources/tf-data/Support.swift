import Dispatch
import Foundation
import TransfusionConfig
import TransfusionData

/// The progress lines of work that has several phases, one after the other.
final class PhaseProgress {
    private var phase = ""
    private var line = ProgressLine("", total: 0)

    func update(_ phase: String, _ done: Int, _ total: Int) {
        if phase != self.phase {
            line.clear()
            self.phase = phase
            line = ProgressLine(phase, total: total)
        }
        line.update(done)
    }

    /// Takes the line away when the work has ended, whether well or not.
    func during<Result>(_ work: () throws -> Result) rethrows -> Result {
        defer { line.clear() }
        return try work()
    }
}

/// Takes away what is unfinished when a signal ends the process, which then ends by that signal as it would have without this.
final class InterruptionCleanup {
    private var sources: [any DispatchSourceSignal] = []

    init() {
        for number in [SIGINT, SIGTERM, SIGHUP] where !Self.isIgnored(number) {
            // It reaches the source instead of ending the process.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                UnfinishedDirectory.removeAll()
                signal(number, SIG_DFL)
                kill(getpid(), number)
            }
            source.resume()
            sources.append(source)
        }
    }

    /// As of SIGHUP under `nohup`.
    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        sigaction(number, nil, &action)
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
    }
}
