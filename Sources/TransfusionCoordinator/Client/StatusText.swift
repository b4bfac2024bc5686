internal import Foundation
internal import TransfusionConfig
internal import TransfusionTelemetry

/// A status as a person reads it in a terminal.
public struct StatusText: Sendable {
    private let status: RunStatus

    public init(_ status: RunStatus) {
        self.status = status
    }

    /// One line for a run that goes on in the foreground.
    public var progressLine: String {
        var parts = ["\(status.run) \(status.state.rawValue)", "\(status.step)/\(status.steps) \(percent)"]
        if let losses = status.losses { parts.append("loss \(Self.significant(losses.total))") }
        if let tokens = status.tokensPerSecond { parts.append("\(Int(tokens)) tok/s") }
        if let eta = status.etaSeconds { parts.append("eta \(Duration.seconds(eta).brief)") }
        if let checkpoint = status.lastCheckpoint { parts.append("saved \(checkpoint.step)") }
        if !status.restarts.isEmpty { parts.append("restarts \(status.restarts.count)") }
        if let warning = status.warnings.first { parts.append("! \(warning)") }
        return parts.joined(separator: "  ")
    }

    /// Everything, on several lines.
    public var table: String {
        var lines = ["\(status.run)  \(status.state.rawValue)  \(status.directory)"]
        if status.source == .files { lines[0] += "  (from files)" }
        var progress = "step \(status.step)/\(status.steps) \(percent)"
        if let eta = status.etaSeconds { progress += "  eta \(Duration.seconds(eta).brief)" }
        if let ratio = status.effectiveTrainingTimeRatio {
            progress += "  effective training time \(String(format: "%.1f", 100 * ratio)) %"
        }
        lines.append(progress)
        if let losses = status.losses {
            let parts = losses.parts.sorted { $0.key < $1.key }.map { "\($0.key) \(Self.significant($0.value))" }
            lines.append(
                "loss \(Self.significant(losses.total))"
                    + (parts.isEmpty ? "" : " (\(parts.joined(separator: " ")))")
                    + "  gnorm \(Self.significant(losses.gradientNorm))  lr \(String(format: "%.1e", losses.learningRate))"
                    + (status.tokensPerSecond.map { "  tok/s \(Int($0))" } ?? "")
                    + (status.mfu.map { "  mfu \(String(format: "%.0f", 100 * $0))%" } ?? ""))
        }
        if let checkpoint = status.lastCheckpoint {
            let verified = checkpoint.verified.map { $0 ? "verified" : "DAMAGED" } ?? "not verified yet"
            lines.append(
                "checkpoint: step \(checkpoint.step), \(Duration.seconds(checkpoint.ageSeconds).brief) old, "
                    + "\(String(format: "%.1f", Double(checkpoint.bytes) / 1e6)) MB, \(verified)")
        }
        if let layout = status.layout {
            let hosts = layout.hosts.map { "\($0.name) \($0.ranks)/\($0.slots) \($0.condition.rawValue)" }
            lines.append(
                "\(layout.ranks) ranks: data \(layout.data) × tensor \(layout.tensor) on \(hosts.joined(separator: ", "))"
            )
        }
        if let version = status.version { lines.append("transfusion \(version)") }
        if !status.restarts.isEmpty {
            lines.append("restarts: \(status.restarts.count), \(status.restartsLeft ?? 0) left without progress")
            lines += status.recoveries.suffix(5).map(recovery)
        }
        lines += status.warnings.map { "warning: \($0)" }
        if let exit = status.exit { lines.append("ended (\(exit.code)): \(exit.reason)") }
        if !status.ranks.isEmpty { lines += [""] + ranks }
        // Names of hosts and lines of logs come from elsewhere: nothing in them may steer the terminal.
        return lines.map(Self.printable).joined(separator: "\n")
    }

    private func recovery(_ recovery: RunStatus.Recovery) -> String {
        func seconds(_ value: Double?) -> String { value.map { String(format: "%.1f s", $0) } ?? "…" }
        return "  launch \(recovery.launch): \(recovery.cause.summary); detected \(seconds(recovery.detected)), "
            + "killed \(seconds(recovery.killed)), relaunched \(seconds(recovery.relaunched)), "
            + "loaded \(seconds(recovery.loaded)), first step \(seconds(recovery.firstStep)), "
            + "\(recovery.lostSteps.map { "\($0) steps lost" } ?? "")"
    }

    private var ranks: [String] {
        let header = ["rank", "host", "pid", "step", "phase", "for", "compute", "wait", "memory", "heartbeat", ""]
        let rows = status.ranks.prefix(256).map { rank in
            [
                "\(rank.rank)", rank.host, "\(rank.pid)", "\(rank.step)",
                rank.collective.map { "\(rank.phase.rawValue) (\($0))" } ?? rank.phase.rawValue,
                String(format: "%.1f s", rank.phaseSeconds), String(format: "%.3f s", rank.computeSeconds),
                String(format: "%.3f s", rank.waitSeconds), String(format: "%.2f GB", Double(rank.memoryBytes) / 1e9),
                String(format: "%.1f s", rank.heartbeatAge), rank.condition.rawValue,
            ]
        }
        return Self.columns([header] + rows)
    }

    /// Many runs, one a line.
    public static func table(of runs: [RunSummary]) -> String {
        guard !runs.isEmpty else { return "no runs; 'tf-coord submit CONFIG' hands one to the daemon" }
        let header = ["run", "state", "step", "", "loss", "tok/s", "eta", "ranks", "restarts", ""]
        return columns([header] + runs.map(row)).map(printable).joined(separator: "\n")
    }

    private static func row(of run: RunSummary) -> [String] {
        let speed = run.tokensPerSecond.map { "\(Int($0))" } ?? ""
        let remaining = run.etaSeconds.map { Duration.seconds($0).brief } ?? ""
        let warning = run.warnings.first.map { "! \($0)" } ?? ""
        let remark = run.exit.map { $0.code == 0 ? "" : $0.reason } ?? warning
        return [
            run.run, run.state.rawValue, "\(run.step)/\(run.steps)", String(format: "%.1f%%", run.percent),
            run.loss.map(significant) ?? "", speed, remaining, "\(run.ranks)", "\(run.restarts)", remark,
        ]
    }

    static func columns(_ rows: [[String]]) -> [String] {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            zip(row, widths).map { $0.padding(toLength: max($1, $0.count), withPad: " ", startingAt: 0) }
                .joined(separator: "  ")
        }
    }

    private var percent: String { String(format: "%.1f%%", status.percent) }

    private static func significant(_ value: Double) -> String {
        value.isFinite ? String(format: "%.3g", value) : "\(value)"
    }

    /// The line without control characters but tabs.
    public static func printable(_ line: String) -> String {
        String(
            String.UnicodeScalarView(
                line.unicodeScalars.map { $0.properties.generalCategory == .control && $0 != "\t" ? "?" : $0 }))
    }
}
