internal import Foundation

/// Losses over the steps as a picture: a panel for each loss, a line for each run, a colour for each cell.
struct LossCurves {
    private let cells: [String]
    private let curves: [(loss: String, cell: String, curve: TrialCurve)]
    private let losses: [String]

    private static let panel = (width: 420.0, height: 260.0)
    private static let margin = (left: 58.0, right: 12.0, top: 30.0, bottom: 34.0)
    private static let legendLine = 18.0
    /// Okabe and Ito's colours, which people with any colour vision tell apart.
    private static let colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]

    init(cells: [String], curves: [(loss: String, cell: String, curve: TrialCurve)]) {
        self.cells = cells
        self.curves = curves.filter { !$0.curve.steps.isEmpty }
        losses = Set(self.curves.map(\.loss)).sorted()
    }

    var svg: String {
        let columns = min(2, max(1, losses.count)), rows = (losses.count + columns - 1) / columns
        let legend = Double(cells.count) * Self.legendLine + 12
        let width = Double(columns) * Self.panel.width, height = Double(rows) * Self.panel.height + legend
        var parts = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(number(width))\" height=\"\(number(height))\" "
                + "viewBox=\"0 0 \(number(width)) \(number(height))\" font-family=\"sans-serif\" font-size=\"11\">",
            "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
        ]
        for (index, cell) in cells.enumerated() {
            let y = (Double(index) + 0.5) * Self.legendLine + 6
            parts.append(
                "<line x1=\"16\" x2=\"44\" y1=\"\(number(y))\" y2=\"\(number(y))\" stroke-width=\"2\" \(stroke(index))/>"
            )
            parts.append(text(cell, x: 52, y: y + 4, anchor: "start"))
        }
        for (index, loss) in losses.enumerated() {
            let x = Double(index % columns) * Self.panel.width
            let y = Double(index / columns) * Self.panel.height + legend
            parts.append("<g transform=\"translate(\(number(x)) \(number(y)))\">")
            parts += panel(loss)
            parts.append("</g>")
        }
        return (parts + ["</svg>", ""]).joined(separator: "\n")
    }

    private func panel(_ loss: String) -> [String] {
        let shown = curves.filter { $0.loss == loss }
        let values = shown.flatMap(\.curve.values), lastStep = shown.flatMap(\.curve.steps).max() ?? 1
        guard let low = values.min(), let high = values.max() else { return [] }
        let room = high > low ? 0.05 * (high - low) : max(abs(high) * 0.05, 1e-6)
        let (bottomValue, topValue) = (low - room, high + room)
        let right = Self.panel.width - Self.margin.right, bottom = Self.panel.height - Self.margin.bottom
        func x(_ step: Int) -> Double {
            Self.margin.left + Double(step) / Double(max(1, lastStep)) * (right - Self.margin.left)
        }
        func y(_ value: Double) -> Double {
            bottom - (value - bottomValue) / (topValue - bottomValue) * (bottom - Self.margin.top)
        }
        var parts = [
            text(loss, x: Self.panel.width / 2, y: 18, weight: "bold"),
            "<rect x=\"\(number(Self.margin.left))\" y=\"\(number(Self.margin.top))\" "
                + "width=\"\(number(right - Self.margin.left))\" height=\"\(number(bottom - Self.margin.top))\" "
                + "fill=\"none\" stroke=\"#999\"/>",
            text("0", x: Self.margin.left, y: bottom + 15),
            text("step \(lastStep)", x: right, y: bottom + 15, anchor: "end"),
        ]
        for tick in 0...4 {
            let value = bottomValue + (topValue - bottomValue) * Double(tick) / 4
            parts.append(text(String(format: "%.3g", value), x: Self.margin.left - 6, y: y(value) + 4, anchor: "end"))
        }
        for (_, cell, curve) in shown {
            let index = cells.firstIndex(of: cell) ?? 0
            if curve.steps.count == 1 {
                parts.append(
                    "<circle cx=\"\(number(x(curve.steps[0])))\" cy=\"\(number(y(curve.values[0])))\" r=\"2.5\" "
                        + "fill=\"none\" \(stroke(index))/>")
            } else {
                let points = zip(curve.steps, curve.values).map { "\(number(x($0))),\(number(y($1)))" }
                parts.append(
                    "<polyline points=\"\(points.joined(separator: " "))\" fill=\"none\" stroke-width=\"1.4\" "
                        + "\(stroke(index))/>")
            }
        }
        return parts
    }

    /// The colour of a cell; dashes tell those apart for which there are no more colours.
    private func stroke(_ cell: Int) -> String {
        let dashes = cell / Self.colours.count
        return "stroke=\"\(Self.colours[cell % Self.colours.count])\""
            + (dashes > 0 ? " stroke-dasharray=\"\(2 * dashes) 3\"" : "")
    }

    private func text(
        _ words: String, x: Double, y: Double, anchor: String = "middle", weight: String = "normal"
    ) -> String {
        "<text x=\"\(number(x))\" y=\"\(number(y))\" text-anchor=\"\(anchor)\" font-weight=\"\(weight)\">"
            + "\(ExperimentReport.escapedForHTML(words))</text>"
    }

    private func number(_ value: Double) -> String { String(format: "%.1f", value) }
}
