/// A part of the log of a launch.
public struct LogAnswer: Codable, Sendable, Equatable {
    public var launch: Int
    public var text: String
    /// The offset to ask for next.
    public var next: Int
    /// The newest launch, which is another when this one has ended and all of it was read.
    public var newestLaunch: Int
}

extension RunFiles {
    /// Lines of the log of a launch.
    /// - Parameters:
    ///   - launch: nil for the newest.
    ///   - offset: Where to begin; nil for the last lines.
    /// - Returns: nil when there is no such log.
    public func log(launch: Int?, from offset: Int?) -> LogAnswer? {
        guard let newest = logs().last.flatMap(Self.launch(ofLog:)) else { return nil }
        let number = launch ?? newest
        guard let part = LogPart(of: log(ofLaunch: number), from: offset ?? -(16 << 10)) else { return nil }
        return LogAnswer(launch: number, text: part.text, next: part.next, newestLaunch: newest)
    }

    private static func launch(ofLog path: String) -> Int? {
        path.split(separator: "/").last.flatMap { Int($0.dropFirst("launch-".count).dropLast(".log".count)) }
    }
}
