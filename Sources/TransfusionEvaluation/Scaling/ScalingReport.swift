import Foundation
import TransfusionConfig
import TransfusionCore

/// How the quality of families of models grows with the FLOPs of their training, and how many FLOPs one family needs to
/// match another's largest model.
///
/// The parity FLOP ratio is that of §4.2 of the Transfusion paper: the FLOPs at which the line of one family reaches the
/// value that the other's largest model has, divided by that model's FLOPs.
public struct ScalingReport: Encodable, Sendable, Equatable {
    /// A row that takes no part in the line of a metric.
    public struct Dropped: Encodable, Sendable, Equatable {
        public let family: String
        public let metric: String
        public let source: String
        /// Nil when the row has none.
        public let value: Double?
        public let reason: String
    }

    /// The ratio with one of the rows left out.
    public struct LeftOut: Encodable, Sendable, Equatable {
        public let source: String
        /// Nil when the others reach the value nowhere.
        public let ratio: Double?
    }

    /// What was found for one metric.
    public struct Comparison: Encodable, Sendable, Equatable {
        /// The value to match.
        public let target: Double
        public let flopsNeeded: Double
        public let ratio: Double
        /// 95 %, by resampling the rows; nil where resamples determine no line.
        public let interval: [Double]?
        /// Empty with three points: two make no trend.
        public let leaveOneOut: [LeftOut]

        enum CodingKeys: String, CodingKey {
            case target, ratio, interval
            case flopsNeeded = "flops_needed"
            case leaveOneOut = "leave_one_out"
        }
    }

    /// The row to match: the one with the most FLOPs of its family.
    public let match: ScalingRow
    /// The family whose line is compared with it.
    public let family: String
    public let rows: [ScalingRow]
    /// By metric.
    public private(set) var ratios: [String: Double] = [:]
    /// By metric.
    public private(set) var comparisons: [String: Comparison] = [:]
    /// By family and metric.
    public private(set) var fits: [String: [String: LogLogFit]] = [:]
    public private(set) var dropped: [Dropped] = []
    /// Why there is no ratio, by metric.
    public private(set) var unmatched: [String: String] = [:]

    private static let fewestPoints = 3

    /// - Parameters:
    ///   - name: The family to match.
    ///   - family: The family that is compared; nil takes the only other one.
    /// - Throws: `SettingError` when a family is not there, `CommandFailure` when no metric can be compared.
    init(_ rows: [ScalingRow], match name: String, family: String?, bounds: [MetricBound]) throws {
        let families = Set(rows.map(\.family)).sorted()
        guard let match = rows.filter({ $0.family == name }).max(by: { $0.flops < $1.flops }) else {
            throw SettingError(
                "match", "no row is of the family \(name); there are \(families.joined(separator: ", "))")
        }
        let others = families.filter { $0 != name }
        guard let family = family ?? (others.count == 1 ? others.first : nil), others.contains(family) else {
            guard !others.isEmpty else {
                throw SettingError("match", "all rows are of the family \(name); there must be another one to compare")
            }
            throw SettingError("family", "must be one of \(others.joined(separator: ", "))")
        }
        self.rows = rows
        self.match = match
        self.family = family
        for metric in Set(rows.flatMap(\.metrics.keys)).sorted() {
            for name in families {
                let points = points(metric, of: name, bounds)
                let values = points.compactMap { $0.metrics[metric] }
                if points.count >= Self.fewestPoints,
                    let fit = LogLogFit(flops: points.map(\.flops), values: values)
                {
                    fits[name, default: [:]][metric] = fit
                }
                if name == family { compare(metric, points, values, bounds) }
            }
        }
        guard !ratios.isEmpty else {
            let reasons = unmatched.sorted { $0.key < $1.key }.map { "\($0): \($1)" }
            throw CommandFailure(
                reasons.isEmpty
                    ? "no row has a metric" : "no metric can be compared: \(reasons.joined(separator: "; "))")
        }
    }

    /// The rows of a family that take part in the line of a metric; the others are noted.
    private mutating func points(_ metric: String, of family: String, _ bounds: [MetricBound]) -> [ScalingRow] {
        rows.filter { row in
            guard row.family == family else { return false }
            let reason = Self.problem(metric, row.metrics[metric], bounds)
            if let reason {
                dropped.append(
                    Dropped(
                        family: family, metric: metric, source: row.source, value: row.metrics[metric], reason: reason))
            }
            return reason == nil
        }
    }

    private static func problem(_ metric: String, _ value: Double?, _ bounds: [MetricBound]) -> String? {
        guard let value else { return "not measured" }
        guard value > 0 else { return "not above 0, so without a logarithm" }
        return bounds.lazy.compactMap { $0.problem(metric, value) }.first
    }

    private mutating func compare(
        _ metric: String, _ points: [ScalingRow], _ values: [Double], _ bounds: [MetricBound]
    ) {
        if let problem = Self.problem(metric, match.metrics[metric], bounds) {
            unmatched[metric] = "\(match.source) cannot be matched: \(problem)"
            return
        }
        guard let target = match.metrics[metric] else { return }
        guard points.count >= Self.fewestPoints else {
            unmatched[metric] =
                "\(family) has \(points.count) of the \(Self.fewestPoints) points that a line needs at least"
            return
        }
        guard let fit = fits[family]?[metric] else {
            unmatched[metric] = "all rows of \(family) have the same FLOPs"
            return
        }
        guard let ratio = fit.ratio(toReach: target, against: match.flops) else {
            unmatched[metric] = "\(metric) of \(family) does not change with the FLOPs"
            return
        }
        let flops = points.map(\.flops)
        ratios[metric] = ratio
        comparisons[metric] = Comparison(
            target: target, flopsNeeded: ratio * match.flops, ratio: ratio,
            interval: LogLogFit.interval(
                flops: flops, values: values, toReach: target, against: match.flops, seed: 0),
            leaveOneOut: points.count == Self.fewestPoints
                ? []
                : points.indices.map { left in
                    let kept = points.indices.filter { $0 != left }
                    let fit = LogLogFit(flops: kept.map { flops[$0] }, values: kept.map { values[$0] })
                    return LeftOut(
                        source: points[left].source, ratio: fit?.ratio(toReach: target, against: match.flops))
                })
    }

    private enum CodingKeys: String, CodingKey {
        case match, family, rows, ratios, comparisons, fits, dropped, unmatched
    }

    /// A number with four digits, as people read it.
    public static func short(_ value: Double) -> String { String(format: "%.4g", value) }
}
