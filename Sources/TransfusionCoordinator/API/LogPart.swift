internal import Foundation

/// A part of a log, and where the next begins.
public struct LogPart: Codable, Sendable, Equatable {
    /// Whole lines, as UTF-8; what is not UTF-8 was replaced.
    public var text: String
    /// The offset to ask for next.
    public var next: Int

    /// The most bytes of one part.
    public static let limit = 256 << 10

    init(text: String, next: Int) {
        self.text = text
        self.next = next
    }

    /// Reads whole lines of a file.
    /// - Parameter offset: Where to begin; below 0, so many bytes before the end.
    /// - Returns: An empty part at the same offset when there is nothing new; nil when the file cannot be read.
    public init?(of path: String, from offset: Int) {
        guard let file = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? file.close() }
        guard let size = (try? file.seekToEnd()).map({ Int($0) }) else { return nil }
        let start = offset < 0 ? max(0, size + offset) : min(offset, size)
        guard (try? file.seek(toOffset: UInt64(start))) != nil,
            let data = try? file.read(upToCount: min(Self.limit, size - start)) ?? Data()
        else { return nil }
        // A line that is still being written waits, unless it alone fills the part.
        let end = data.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? (data.count == Self.limit ? data.count : 0)
        text = String(decoding: data[..<end], as: UTF8.self)
        next = start + end
    }
}
