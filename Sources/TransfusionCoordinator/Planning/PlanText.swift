internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
import TransfusionModels

/// A plan as a person reads it in a terminal.
public struct PlanText: Sendable {
    private let report: PlanReport
    private let shownRows: Int

    /// - Parameter rows: How many layouts are shown at most.
    public init(_ report: PlanReport, rows: Int) {
        self.report = report
        shownRows = rows
    }

    public var text: String {
        var lines = heading + [""]
        let rows = report.rows.prefix(shownRows), rejected = report.rejected.prefix(shownRows)
        if rows.isEmpty {
            lines.append(nothingFits)
        } else {
            lines += speeds(Array(rows)) + hidden(report.rows.count)
            lines += ["", "memory of a rank in GB"] + memory(rows.map(\.layout))
        }
        if !rejected.isEmpty {
            lines += ["", "too large"] + table(rejected.map(rejection)) + hidden(report.rejected.count)
        }
        if let configured = report.configured { lines += ["", configuredLine(configured)] }
        if let best = report.rows.first?.layout { lines += [""] + details(best) }
        return lines.joined(separator: "\n")
    }

    private var heading: [String] {
        let cluster = report.cluster, model = report.model, machine = report.machine
        return [
            "\(report.run): \(model.parameters) parameters, "
                + (model.autoencoder ?? "\(model.layers ?? 0) layers of width \(model.width ?? 0)")
                + "; \(report.tokensPerStep) \(model.autoencoder == nil ? "tokens and patches" : "latents") a step, "
                + "\(report.steps) steps",
            "\(cluster.hosts) \(cluster.hosts == 1 ? "host" : "hosts") of \(cluster.cores) cores and "
                + "\(PlanReport.gigabytes(cluster.memoryBytes)); \(number(cluster.network.bytesPerSecond * 8 / 1e9)) Gbit/s and "
                + "\(number(cluster.network.latency * 1e6)) µs between hosts; a host fails every "
                + "\(number(cluster.hostHoursBetweenFailures)) h; "
                + "checkpoints at \(number(cluster.checkpointBytesPerSecond / 1e9, 2)) GB/s",
            "rates of \(machine.processor), \(machine.threads) threads, \(machine.type.rawValue): "
                + "\(number(machine.matrixRate / 1e9, 0)) GFLOP/s; a step that was not used for them is estimated "
                + "\(signed(machine.check.secondsError)) off",
        ]
    }

    private var nothingFits: String {
        let least = report.rejected.map(\.layout.hostMemoryBytes).min() ?? 0
        return
            "nothing fits: hosts need at least \(PlanReport.gigabytes(least)); use such hosts, or more of them, which "
            + "share the state of the optimizer"
    }

    private func speeds(_ rows: [PlanReport.Row]) -> [String] {
        let header = [
            "data × tensor", "hosts", "ranks × threads", "recompute", "seq. parallel", "host memory", "step",
            "tokens/s", "tokens/day", "of peak", "run", "",
        ]
        return table(
            [header]
                + rows.map { row in
                    let layout = row.layout
                    return [
                        "\(layout.data) × \(layout.choice.tensor)", "\(layout.hosts)",
                        "\(layout.choice.ranksPerHost) × \(layout.threads)", layout.choice.recompute.rawValue,
                        layout.choice.tensor == 1 ? "-" : layout.choice.sequenceParallel ? "on" : "off",
                        PlanReport.gigabytes(layout.hostMemoryBytes), "\(number(layout.stepSeconds, 3)) s",
                        number(Double(report.tokensPerStep) / layout.stepSeconds, 0), scientific(layout.tokensPerDay),
                        "\(number(100 * layout.utilization, 0)) %", days(layout), row.note ?? "",
                    ]
                })
    }

    private func memory(_ layouts: [PlannedLayout]) -> [String] {
        let header = ["data × tensor"] + (layouts.first?.memory.classes.map(\.name) ?? []) + ["together"]
        return table(
            [header]
                + layouts.map { layout in
                    ["\(layout.data) × \(layout.choice.tensor)"]
                        + (layout.memory.classes.map(\.bytes) + [layout.memory.total]).map {
                            number(Double($0) / 1e9, 2)
                        }
                })
    }

    private func rejection(_ rejection: PlanReport.Rejection) -> [String] {
        let layout = rejection.layout
        return [
            "\(layout.data) × \(layout.choice.tensor)", ranks(layout.choice),
            rejection.reason + (rejection.remedy.map { "; fits with \($0)" } ?? ""),
        ]
    }

    private func configuredLine(_ layout: PlannedLayout) -> String {
        let choice = layout.choice
        let form = "as configured (tensor \(choice.tensor), \(choice.form), \(ranks(choice))): "
        return layout.fits
            ? form + "\(number(layout.stepSeconds, 3)) s a step, \(scientific(layout.tokensPerDay)) tokens/day"
            : form + "does not fit, needs \(PlanReport.gigabytes(layout.hostMemoryBytes)) a host"
    }

    /// Of the fastest layout: the step by part, and the checkpoints.
    private func details(_ layout: PlannedLayout) -> [String] {
        let step = layout.step, checkpoint = layout.checkpoint
        let parts = [
            ("forward and backward", step.compute), ("tensor exchange", step.tensorExchange),
            ("elastic sums", step.elasticSums), ("gradient exchange", step.gradientExchange), ("update", step.update),
            ("weight exchange", step.weightExchange),
        ].filter { $0.1 > 0 }
        // No more than checkpoint.every_steps may be.
        let steps = Int(max(1, min(1e9, (checkpoint.intervalSeconds / layout.stepSeconds).rounded(.up))))
        let isLimited = checkpoint.intervalSeconds == checkpoint.writeSeconds
        return [
            "fastest, data \(layout.data) × tensor \(layout.choice.tensor):",
            "  step: " + parts.map { "\($0.0) \(number($0.1, 3)) s" }.joined(separator: ", "),
            "  checkpoint: \(PlanReport.gigabytes(checkpoint.bytes)), written in \(number(checkpoint.writeSeconds)) s, training "
                + "stands still for \(number(checkpoint.stallSeconds, 2)) s; best "
                + (isLimited ? "as often as it can be written, " : "")
                + "every \(brief(checkpoint.intervalSeconds)) (checkpoint.every_steps: \(steps)) with a failure "
                + "every \(brief(checkpoint.secondsBetweenFailures)); "
                + "effective training time \(number(100 * checkpoint.effectiveTime)) %",
        ]
    }

    private func ranks(_ choice: PlannedLayout.Choice) -> String {
        "\(choice.ranksPerHost) \(choice.ranksPerHost == 1 ? "rank" : "ranks") a host"
    }

    private func hidden(_ count: Int) -> [String] {
        count > shownRows ? ["… and \(count - shownRows) more (--rows, --json)"] : []
    }

    private func days(_ layout: PlannedLayout) -> String {
        guard layout.tokensPerDay > 0 else { return "never" }
        return brief(86400 * Double(report.steps) * Double(report.tokensPerStep) / layout.tokensPerDay)
    }

    /// A duration may be too long for `Duration`: ten thousand years are enough.
    private func brief(_ seconds: Double) -> String {
        let most = 86400.0 * 3_650_000
        return seconds <= most ? Duration.seconds(seconds).brief : "over \(Duration.seconds(most).brief)"
    }

    /// Columns as wide as their widest cell.
    private func table(_ rows: [[String]]) -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.compactMap { $0.count > column ? $0[column].count : nil }.max() ?? 0
        }
        return rows.map { row in
            let line = zip(row, widths).map { $0.padding(toLength: max($1, $0.count), withPad: " ", startingAt: 0) }
                .joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }

    private func number(_ value: Double, _ digits: Int = 1) -> String {
        let text = String(format: "%.\(digits)f", value)
        return digits == 1 && text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }

    private func scientific(_ value: Double) -> String { String(format: "%.2e", value) }

    private func signed(_ share: Double) -> String { String(format: "%+.1f %%", 100 * share) }
}
