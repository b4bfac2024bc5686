import Foundation

/// A limit beyond which a value says that a model has not learned the task, so that no trend can be read from it.
public struct MetricBound: Sendable, Equatable, Encodable {
    public let metric: String
    /// Whether values above the limit are beyond it; else those below.
    public let isUpper: Bool
    public let limit: Double

    /// The points that the paper drops (§4.2, footnote 16).
    public static let paper = ["fid>100", "clip<17", "cider<4"].compactMap(MetricBound.init)

    /// - Parameter text: As in `fid>100` or `cider<4`.
    public init?(_ text: String) {
        guard let place = text.firstIndex(where: { $0 == "<" || $0 == ">" }), place > text.startIndex,
            let limit = Double(text[text.index(after: place)...]), limit.isFinite
        else { return nil }
        metric = text[..<place].trimmingCharacters(in: .whitespaces)
        isUpper = text[place] == ">"
        self.limit = limit
    }

    /// Why a value is beyond the limit; nil when it is not. Names of metrics are compared without regard to case.
    func problem(_ name: String, _ value: Double) -> String? {
        guard metric.lowercased() == name.lowercased(), isUpper ? value > limit : value < limit else { return nil }
        return isUpper ? "above \(ScalingReport.short(limit))" : "below \(ScalingReport.short(limit))"
    }
}
