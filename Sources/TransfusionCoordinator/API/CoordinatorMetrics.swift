internal import Foundation
internal import TransfusionConfig
internal import TransfusionTelemetry

/// What a coordinator tells Prometheus: what the ranks of each run have written for it, with the name of the run, and
/// what only the coordinator knows.
enum CoordinatorMetrics {
    static func text(of control: any RunControl) async throws -> String {
        var ranks = WorkerMetrics()
        var statuses: [RunStatus] = []
        for summary in await control.runs() {
            // A run may go while the list is read.
            guard let status = try? await control.status(of: summary.run) else { continue }
            statuses.append(status)
            guard !status.state.isFinal, status.state != .queued,
                let text = try? String(contentsOfFile: RunDirectory(status.directory).prometheus, encoding: .utf8)
            else { continue }
            ranks.add(text, run: status.run)
        }
        return ranks.text + text(of: statuses)
    }

    static func text(of statuses: [RunStatus]) -> String {
        var text = PrometheusText()
        func each(_ value: (RunStatus) -> Double?) -> [([String: String], Double)] {
            statuses.compactMap { status in value(status).map { (["run": status.run], $0) } }
        }
        text.family(
            "run_state", "gauge", "1 for the state that the run is in.",
            statuses.map { (["run": $0.run, "state": $0.state.rawValue], 1) })
        text.family("run_steps", "gauge", "Steps of the whole run.", each { Double($0.steps) })
        text.family("run_restarts_total", "counter", "Unplanned starts.", each { Double($0.restarts.count) })
        text.family(
            "run_effective_training_time_ratio", "gauge", "Share of the time in which steps were computed that count.",
            each(\.effectiveTrainingTimeRatio))
        text.family(
            "nonfinite_steps_total", "counter", "Launches that ended at a number that is not finite.",
            each { Double($0.restarts.count { $0.cause.kind == .nonFinite }) })
        let ranks = statuses.flatMap { status in
            status.ranks.map { rank in
                (labels: ["run": status.run, "rank": "\(rank.rank)", "host": rank.host], rank: rank, time: status.time)
            }
        }
        text.family(
            "rank_compute_seconds", "gauge", "Seconds of computation in a step.",
            ranks.map { ($0.labels, $0.rank.computeSeconds) })
        text.family(
            "rank_wait_seconds", "gauge", "Seconds of waiting for other ranks in a step.",
            ranks.map { ($0.labels, $0.rank.waitSeconds) })
        text.family(
            "rank_last_heartbeat_timestamp_seconds", "gauge", "When the rank was last heard.",
            ranks.map { ($0.labels, $0.time - $0.rank.heartbeatAge) })
        text.family(
            "rank_resident_memory_bytes", "gauge", "Resident memory of the rank.",
            ranks.map { ($0.labels, Double($0.rank.memoryBytes)) })
        return text.text
    }
}

/// The text that rank 0 of each run writes for Prometheus, put together: families that are there several times become
/// one, as the format asks.
private struct WorkerMetrics {
    private var names: [String] = []
    private var headers: [String: [Substring]] = [:]
    private var samples: [String: [String]] = [:]

    mutating func add(_ text: String, run: String) {
        var family = ""
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 3)
            if line.hasPrefix("# "), words.count == 4 {
                family = String(words[2])
                if headers[family] == nil { names.append(family) }
                if headers[family, default: []].count < 2 { headers[family, default: []].append(line) }
            } else if let end = line.firstIndex(where: { $0 == "{" || $0 == " " }), line.hasPrefix(family) {
                let label = "{run=\"\(run)\"", rest = line[line.index(after: end)...]
                samples[family, default: []].append(
                    line[..<end] + label + (line[end] == "{" ? ",\(rest)" : "} \(rest)"))
            }
        }
    }

    var text: String {
        names.map { name in
            ((headers[name] ?? []).map(String.init) + (samples[name] ?? [])).joined(separator: "\n") + "\n"
        }.joined()
    }
}
