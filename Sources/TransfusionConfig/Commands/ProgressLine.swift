internal import Foundation

/// One line on standard error that says how far long work is and when it will end. Silent unless that is a terminal.
public struct ProgressLine: ~Copyable {
    private let title: String
    private let total: Int
    private let isVisible: Bool
    private let width: Int
    private let start = ContinuousClock.now
    private var lastShown: ContinuousClock.Instant?

    /// - Parameters:
    ///   - title: What is being done, as in `packing`.
    ///   - total: The number of parts of the work; 0 when it is not known.
    public init(_ title: String, total: Int) {
        self.title = title
        self.total = total
        isVisible = isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
        var size = winsize()
        width = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    /// Shows that `done` parts are done. Cheap: at most ten times a second anything is written.
    /// - Parameter note: Shown at the end of the line, as in `loss 2.31`.
    public mutating func update(_ done: Int, _ note: @autoclosure () -> String = "") {
        guard isVisible else { return }
        let now = ContinuousClock.now
        if let lastShown, now - lastShown < .milliseconds(100), done < total { return }
        lastShown = now
        let line = Self.line(title, done: done, of: total, after: now - start, note: note())
        StandardStream.error.write("\r\(line.prefix(width - 1))\u{1B}[K")
    }

    /// Removes the line, so that what is printed next stands in its place.
    public func clear() {
        if isVisible, lastShown != nil { StandardStream.error.write("\r\u{1B}[K") }
    }

    static func line(_ title: String, done: Int, of total: Int, after elapsed: Duration, note: String) -> String {
        var parts = [title]
        if total > 0 {
            parts.append("\(done)/\(total) \(done * 100 / total)%")
            if done > 0, done < total { parts.append("eta " + (elapsed / done * (total - done)).brief) }
        } else {
            parts.append("\(done)")
        }
        if !note.isEmpty { parts.append(note) }
        return parts.joined(separator: "  ")
    }
}

extension Duration {
    /// The duration in its two largest units, as in `1h06m`, `12m05s` or `8s`.
    public var brief: String {
        let seconds = Int(components.seconds)
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return switch seconds {
        case ..<60: "\(max(0, seconds))s"
        case ..<3600: "\(seconds / 60)m\(two(seconds % 60))s"
        case ..<86400: "\(seconds / 3600)h\(two(seconds % 3600 / 60))m"
        default: "\(seconds / 86400)d\(two(seconds % 86400 / 3600))h"
        }
    }
}
