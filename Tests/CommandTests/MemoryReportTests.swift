import Foundation
import Testing
import _TestUtilities

/// Holds the memory that tf-worker announces at its start to what the kernel counts at its end.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(5))) struct MemoryReportTests {
    private struct Layout: CustomTestStringConvertible, Sendable {
        let ranks: Int
        let tensor: Int
        var images = "diffusion"
        /// In percent.
        var tolerance = 7.0
        var testDescription: String { "\(ranks) ranks, tensor \(tensor), images \(images)" }
    }

    private static let layouts = [
        Layout(ranks: 1, tensor: 1), Layout(ranks: 2, tensor: 1), Layout(ranks: 2, tensor: 2),
        Layout(ranks: 1, tensor: 1, images: "none", tolerance: 5),
    ]

    /// The numbers of a line's classes, in MB.
    private static func classes(_ line: Substring) -> [String: Double] {
        var classes: [String: Double] = [:]
        for part in line.split(separator: ":")[1].split(whereSeparator: { ",;".contains($0) }) {
            let words = part.split(separator: " ")
            classes[String(words[0])] = Double(words[1])
        }
        return classes
    }

    @Test(arguments: layouts) private func announcesWhatItTakes(_ layout: Layout) throws {
        let dataset = try SmallDataset(), directory = try TemporaryDirectory()
        try """
        model: {layers: 4, width: 256, heads: 4, ffn: 688, images: \(layout.images), patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 4, learning_rate: 1e-3, minimum_learning_rate: 1e-4, warmup_steps: 1}
        batch: {sequence_length: 512, global_sequences: 4, micro_sequences: 2}
        parallel: {threads: 1, tensor: \(layout.tensor)}
        checkpoint: {every_steps: 2}
        precision: f32
        """.write(toFile: directory.file("run.yaml"), atomically: true, encoding: .utf8)
        let result = try Command.onPath("mpirun").run(
            [
                "-n", "\(layout.ranks)", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
                Command("tf-worker").path, "--config", directory.file("run.yaml"), "--run-dir", directory.file("run"),
            ], environment: ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"])
        #expect(result.status == 0, "\(result.errors)")
        let lines = result.output.split(separator: "\n")
        let planned = Self.classes(try #require(lines.first { $0.hasPrefix("memory per rank:") }))
        let last = try #require(lines.first { $0.hasPrefix("memory of rank 0:") })
        let error = try #require(
            last.split(separator: "(").last.flatMap { Double($0.split(separator: " ")[0]) }, "\(last)")
        #expect(abs(error) < layout.tolerance, "\(last)")
        // f32 weights are the master weights; the moments are shared by the data-parallel ranks.
        let weights = try #require(planned["weights"]), moments = try #require(planned["moments"])
        #expect(planned["master"] == 0)
        let data = Double(layout.ranks / layout.tensor)
        #expect(abs(moments * data / (2 * weights) - 1) < 0.1, "\(planned)")
        #expect((planned["activations"] ?? 0) > 10 && (planned["together"] ?? 0) > 100, "\(planned)")
    }

    /// Saves, pictures and batches come from threads that come and go; what they leave behind is used again.
    @Test func doesNotGrowFromStepToStep() throws {
        let dataset = try SmallDataset(), directory = try TemporaryDirectory()
        try """
        model: {layers: 4, width: 256, heads: 4, ffn: 688, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 240, learning_rate: 1e-3, minimum_learning_rate: 1e-4, warmup_steps: 1}
        batch: {sequence_length: 128, global_sequences: 4, micro_sequences: 2}
        parallel: {threads: 1}
        checkpoint: {every_steps: 5, keep: {last: 1}}
        samples: {every_steps: 10, prompts: [red], diffusion_steps: 2}
        telemetry: {log_every_steps: 10}
        precision: f32
        """.write(toFile: directory.file("run.yaml"), atomically: true, encoding: .utf8)
        let result = try Command("tf-worker").run(
            ["--config", directory.file("run.yaml"), "--run-dir", directory.file("run")])
        #expect(result.status == 0, "\(result.errors)")
        struct Line: Decodable {
            let step: Int
            let memory_bytes: Double
        }
        let lines = try String(contentsOfFile: directory.file("run/metrics.jsonl"), encoding: .utf8)
            .split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
        let early = try #require(lines.first { $0.step == 40 }), late = try #require(lines.last)
        #expect(late.step == 240)
        // On a busy host it takes some time until a save, a picture and a batch have once been made at the same moment, which
        // costs up to 4 % once. What grows with every save or every step exceeds the limit: 50 kB a step do.
        #expect(late.memory_bytes < early.memory_bytes * 1.05, "\(lines.map(\.memory_bytes))")
    }
}
