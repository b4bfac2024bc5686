import Foundation

/// The lines of a scaling report as a picture: a panel for each metric, both axes logarithmic, a colour for each family.
/// Points that were dropped are hollow; a dashed line shows the value that is matched.
struct ScalingPlot {
    private let report: ScalingReport
    private let metrics: [String]
    private let families: [String]
    private let columns: Int

    private static let panel = (width: 360.0, height: 260.0)
    private static let margin = (left: 64.0, right: 14.0, top: 34.0, bottom: 44.0)
    private static let legendHeight = 34.0
    /// Okabe and Ito's colours, which people with any colour vision tell apart.
    private static let colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]

    init(_ report: ScalingReport) {
        self.report = report
        metrics = Set(report.rows.flatMap(\.metrics.keys)).sorted()
        families = Set(report.rows.map(\.family)).sorted()
        columns = min(3, metrics.count)
    }

    var svg: String {
        let rows = (metrics.count + columns - 1) / columns
        let width = Double(columns) * Self.panel.width
        let height = Double(rows) * Self.panel.height + Self.legendHeight
        var parts = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(number(width))\" height=\"\(number(height))\" "
                + "viewBox=\"0 0 \(number(width)) \(number(height))\" font-family=\"sans-serif\" font-size=\"11\">",
            "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
        ]
        parts += legend
        for (index, metric) in metrics.enumerated() {
            let x = Double(index % columns) * Self.panel.width
            let y = Double(index / columns) * Self.panel.height + Self.legendHeight
            parts.append("<g transform=\"translate(\(number(x)) \(number(y)))\">")
            parts += panel(metric)
            parts.append("</g>")
        }
        return (parts + ["</svg>", ""]).joined(separator: "\n")
    }

    private var legend: [String] {
        var x = 16.0
        return families.enumerated().map { index, family in
            defer { x += 30 + 7 * Double(family.count) }
            return "<circle cx=\"\(number(x))\" cy=\"18\" r=\"4\" fill=\"\(colour(index))\"/>"
                + text(family, x: x + 9, y: 22, anchor: "start")
        }
    }

    private func panel(_ metric: String) -> [String] {
        let shown = report.rows.filter { ($0.metrics[metric] ?? 0) > 0 }
        guard let flops = Axis(shown.map(\.flops)), let values = Axis(shown.compactMap { $0.metrics[metric] }) else {
            return [text("\(metric): nothing to draw", x: Self.panel.width / 2, y: 20)]
        }
        let right = Self.panel.width - Self.margin.right, bottom = Self.panel.height - Self.margin.bottom
        func x(_ flop: Double) -> Double { Self.margin.left + flops.share(flop) * (right - Self.margin.left) }
        func y(_ value: Double) -> Double { bottom - values.share(value) * (bottom - Self.margin.top) }

        let ratio = report.ratios[metric].map { "  ratio \(ScalingReport.short($0))" } ?? ""
        var parts = [
            text(metric + ratio, x: Self.panel.width / 2, y: 20, weight: "bold"),
            "<rect x=\"\(number(Self.margin.left))\" y=\"\(number(Self.margin.top))\" "
                + "width=\"\(number(right - Self.margin.left))\" height=\"\(number(bottom - Self.margin.top))\" "
                + "fill=\"none\" stroke=\"#888\"/>",
            text("FLOPs", x: (Self.margin.left + right) / 2, y: Self.panel.height - 8),
        ]
        for tick in flops.ticks {
            parts.append(line(x(tick), bottom, x(tick), bottom + 4, "#888"))
            parts.append(text(String(format: "%.0e", tick), x: x(tick), y: bottom + 16))
        }
        for tick in values.ticks {
            parts.append(line(Self.margin.left - 4, y(tick), Self.margin.left, y(tick), "#888"))
            parts.append(text(ScalingReport.short(tick), x: Self.margin.left - 7, y: y(tick) + 4, anchor: "end"))
        }
        if let target = report.comparisons[metric]?.target {
            parts.append(line(Self.margin.left, y(target), right, y(target), "#888", dashes: true))
        }
        for (index, family) in families.enumerated() {
            let points = shown.filter { $0.family == family }
            if let fit = report.fits[family]?[metric], let low = points.map(\.flops).min(),
                let high = points.map(\.flops).max()
            {
                parts.append(
                    line(x(low), y(fit.value(atFLOPs: low)), x(high), y(fit.value(atFLOPs: high)), colour(index)))
            }
            for point in points {
                let dropped = report.dropped.contains { $0.metric == metric && $0.source == point.source }
                parts.append(
                    "<circle cx=\"\(number(x(point.flops)))\" cy=\"\(number(y(point.metrics[metric] ?? 0)))\" r=\"4\" "
                        + "fill=\"\(dropped ? "white" : colour(index))\" stroke=\"\(colour(index))\"/>")
            }
        }
        return parts
    }

    private func colour(_ index: Int) -> String { Self.colours[index % Self.colours.count] }

    private func line(
        _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ colour: String, dashes: Bool = false
    ) -> String {
        "<line x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" y2=\"\(number(y2))\" stroke=\"\(colour)\""
            + (dashes ? " stroke-dasharray=\"4 3\"" : "") + "/>"
    }

    private func text(
        _ words: String, x: Double, y: Double, anchor: String = "middle", weight: String = "normal"
    ) -> String {
        let escaped = words.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
        return "<text x=\"\(number(x))\" y=\"\(number(y))\" text-anchor=\"\(anchor)\" font-weight=\"\(weight)\">"
            + "\(escaped)</text>"
    }

    private func number(_ value: Double) -> String { String(format: "%.1f", value) }
}

extension ScalingPlot {
    /// A logarithmic axis with room at both ends.
    private struct Axis {
        private let low: Double
        private let high: Double

        /// Nil without values.
        init?(_ values: [Double]) {
            guard let least = values.min(), let most = values.max() else { return nil }
            let room = max(0.05 * log(most / least), 0.02)
            (low, high) = (log(least) - room, log(most) + room)
        }

        /// Where a value lies, from 0 to 1.
        func share(_ value: Double) -> Double { (log(value) - low) / (high - low) }

        /// Two to seven round numbers on the axis: the coarsest of some series with enough of them.
        var ticks: [Double] {
            let series: [[Double]] = [
                [1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7], Array(stride(from: 1.0, to: 10, by: 0.5)),
                Array(stride(from: 1.0, to: 10, by: 0.1)),
            ]
            let decades = Int(floor(low / log(10)))...Int(floor(high / log(10)))
            for steps in series {
                let found = decades.flatMap { decade in steps.map { $0 * pow(10, Double(decade)) } }
                    .filter { (0...1).contains(share($0)) }
                guard found.count > 2 else { continue }
                let every = (found.count + 6) / 7
                return found.enumerated().filter { $0.offset % every == 0 }.map(\.element)
            }
            return [exp((low + high) / 2)]
        }
    }
}
