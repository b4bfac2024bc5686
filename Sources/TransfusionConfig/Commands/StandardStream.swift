internal import Foundation

/// Where a command tells people how its work goes, while it goes.
public enum StandardStream: Sendable {
    case output
    case error

    /// Writes at once. What cannot be written (the disk is full, nobody reads the pipe any more) is lost: days of work do
    /// not end because of it.
    public func write(_ text: String) {
        let file = self == .output ? FileHandle.standardOutput : FileHandle.standardError
        try? file.write(contentsOf: Data(text.utf8))
    }
}
