import Foundation
import Testing
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionCoordinator

/// What deploy/ has for Prometheus and Grafana, held to what is exported.
@Suite struct MonitoringFilesTests {
    private static let deploy =
        "/" + URL(filePath: #filePath).pathComponents.dropLast(3).dropFirst().joined(separator: "/") + "/deploy"
    private static let alerts = "\(deploy)/prometheus/alerts.yaml"
    private static let dashboard = "\(deploy)/grafana/dashboard.json"

    /// The names of all samples that a coordinator exports.
    private static let exported: Set<String> = {
        var record = StepRecord(
            step: 1, tokens: 1, images: 1, loss: 1, losses: ["text": 1], gradientNorm: 1, learningRate: 1,
            stepSeconds: 1, tokensPerSecond: 1, modelFLOPsUtilization: 0.5, dataSeconds: 0, communicationSeconds: 0,
            waitSeconds: 0, memoryBytes: 1)
        record.othersShare = 0.1
        var metrics = PrometheusMetrics()
        metrics.observe(record)
        metrics.observeCheckpoint(time: 1, seconds: 1)
        let status = RunStatus(run: "a", directory: "/a", state: .running, time: 1, step: 1, steps: 2)
        var names: Set<String> = []
        for line in (metrics.text + CoordinatorMetrics.text(of: [status])).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard line.hasPrefix("# TYPE") else { continue }
            let parts = words[3] == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
            names.formUnion(parts.map { words[2] + $0 })
        }
        return names
    }()

    private func names(in text: String) -> Set<String> {
        Set(text.matches(of: /transfusion_[a-z_]+/).map { String($0.output) })
    }

    @Test(arguments: [alerts, dashboard]) func everyNameIsExported(_ file: String) throws {
        let used = names(in: try String(contentsOfFile: file, encoding: .utf8))
        #expect(used.count > 5 && used.isSubset(of: Self.exported), "\(used.subtracting(Self.exported).sorted())")
    }

    @Test func aNameThatIsNotExportedIsFound() {
        #expect(!names(in: "rate(transfusion_train_token_total[5m])").isSubset(of: Self.exported))
    }

    @Test(.enabled(if: (try? Command.onPath("promtool")) != nil, "promtool is of the package prometheus"))
    func prometheusUnderstandsTheAlerts() throws {
        let scrape = "\(Self.deploy)/prometheus/scrape.yaml"
        // The last says when each of them fires, and when not.
        for words in [
            ["check", "rules", Self.alerts], ["check", "config", "--syntax-only", scrape],
            ["test", "rules", Fixtures.path("alerts.yaml")],
        ] {
            let checked = try Command.onPath("promtool").run(words)
            #expect(checked.status == 0, "\(checked)")
        }
    }

    /// Grafana numbers and places panels as the file says.
    @Test func theDashboardIsOne() throws {
        let json = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: Self.dashboard)))
        let panels = try #require((json as? [String: Any])?["panels"] as? [[String: Any]])
        #expect(Set(panels.compactMap { $0["id"] as? Int }).count == panels.count)
        var taken: Set<[Int]> = []
        for panel in panels {
            let place = try #require(panel["gridPos"] as? [String: Int])
            let (x, y, width, height) = (place["x"] ?? -1, place["y"] ?? -1, place["w"] ?? 0, place["h"] ?? 0)
            #expect(x >= 0 && x + width <= 24, "\(panel["title"] ?? "")")
            for row in y..<y + height {
                for column in x..<x + width {
                    #expect(taken.insert([row, column]).inserted, "\(panel["title"] ?? "")")
                }
            }
            guard panel["type"] as? String != "row" else { continue }
            let targets = try #require(panel["targets"] as? [[String: Any]])
            #expect(targets.allSatisfy { ($0["expr"] as? String)?.contains("{run=~\"$run\"") == true })
        }
    }
}
