import Foundation
import Testing
import TransfusionSupport
import _TestUtilities

@testable import TransfusionTelemetry

struct PrometheusMetricsTests {
    @Test func theTextHasTheDocumentedNames() throws {
        var metrics = PrometheusMetrics()
        let build = "transfusion_build_info{version=\"\(ProductVersion.full)\"} 1"
        #expect(metrics.text.split(separator: "\n").filter { !$0.hasPrefix("#") } == [build[...]])
        metrics.observe(record(3))
        var slow = record(4, loss: .nan)
        slow.stepSeconds = 1000
        metrics.observe(slow)
        metrics.observeCheckpoint(time: 1_700_000_000.5, seconds: 12)
        let lines = metrics.text.split(separator: "\n").map(String.init)
        for line in [
            "transfusion_train_step 4", "transfusion_train_loss{modality=\"text\"} 1.9",
            "transfusion_train_loss{modality=\"image\"} 0.082", "transfusion_train_loss{modality=\"total\"} NaN",
            "transfusion_train_grad_norm 0.71", "transfusion_train_learning_rate 0.0003",
            "transfusion_train_tokens_total 2048", "transfusion_train_images_total 96",
            "transfusion_train_mfu_ratio 0.41", "transfusion_train_step_duration_seconds_bucket{le=\"1\"} 0",
            "transfusion_train_step_duration_seconds_bucket{le=\"2.5\"} 1",
            "transfusion_train_step_duration_seconds_bucket{le=\"250\"} 1",
            "transfusion_train_step_duration_seconds_bucket{le=\"+Inf\"} 2",
            "transfusion_train_step_duration_seconds_sum 1002.1", "transfusion_train_step_duration_seconds_count 2",
            "transfusion_checkpoint_last_success_timestamp_seconds 1700000000.5",
            "transfusion_checkpoint_duration_seconds 12",
        ] {
            #expect(lines.contains(line), "\(line)")
        }
        // Every sample follows the description of its family.
        let families = Set(lines.filter { $0.hasPrefix("# TYPE") }.map { $0.split(separator: " ")[2] })
        for line in lines where !line.hasPrefix("#") {
            #expect(families.contains { line.hasPrefix($0) }, "\(line)")
        }
        var labelled = PrometheusText()
        labelled.family("build_info", "gauge", "What runs.", [(["version": "1 \"b\"\\", "commit": "a"], 1)])
        #expect(labelled.text.hasSuffix("transfusion_build_info{commit=\"a\",version=\"1 \\\"b\\\"\\\\\"} 1\n"))
        let directory = try TemporaryDirectory()
        try metrics.write(to: directory.path + "/metrics.prom")
        #expect(try String(contentsOfFile: directory.path + "/metrics.prom", encoding: .utf8) == metrics.text)
    }
}
