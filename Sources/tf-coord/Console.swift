import Foundation
import Synchronization
import TransfusionConfig
import TransfusionCoordinator

/// Lines, and below them one that is renewed; without a terminal, a line every minute.
final class Console: Sendable {
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

    /// Shows where the dashboard is. A link signs in whoever has it, so it goes to a person's terminal only.
    /// - Parameter hint: The command that prints the link.
    func show(_ link: DashboardLink, hint: String) {
        say("dashboard: " + (isTerminal ? link.url : "\(link.server); '\(hint)' prints a link that signs in"))
    }

    func clear() {
        if isTerminal { write("\r\u{1B}[K") }
    }

    private var columns: Int {
        var size = winsize()
        return ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    private func write(_ text: String) {
        StandardStream.output.write(text)
    }
}
