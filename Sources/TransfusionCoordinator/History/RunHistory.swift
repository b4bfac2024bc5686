internal import Foundation
internal import Synchronization
internal import TransfusionCheckpoint
internal import TransfusionConfig

/// What the directory of a run tells of its past: metrics, checkpoints, pictures. Each answer is bounded, and what was
/// read once is not read again.
final class RunHistory: Sendable {
    private struct State {
        var metrics: MetricsTail
        /// By step. Checkpoints do not change.
        var checkpoints: [Int: CheckpointItem] = [:]
    }

    private let directory: RunDirectory
    private let state: Mutex<State>

    /// The most checkpoints, drawings and pictures of a drawing that are listed.
    private static let checkpoints = 50
    private static let drawings = 12
    private static let pictures = 16
    /// A picture larger than this is none of a training run.
    private static let pictureBytes = 8 << 20

    init(_ directory: RunDirectory) {
        self.directory = directory
        state = Mutex(State(metrics: MetricsTail(path: directory.metrics)))
    }

    func metrics() -> MetricsColumns {
        state.withLock { state in
            state.metrics.refresh()
            return state.metrics.series.columns
        }
    }

    /// The newest first.
    func checkpoints() -> [CheckpointItem] {
        let store = CheckpointStore(directory.checkpoints)
        let steps = ((try? store.steps()) ?? []).suffix(Self.checkpoints)
        return state.withLock { state in
            state.checkpoints = state.checkpoints.filter { steps.contains($0.key) }
            for step in steps where state.checkpoints[step] == nil {
                guard let checkpoint = try? store.open(step: step) else { continue }
                state.checkpoints[step] = CheckpointItem(
                    step: step, created: Double(checkpoint.created), bytes: checkpoint.storedBytes)
            }
            return state.checkpoints.values.sorted { $0.step > $1.step }
        }
    }

    /// Drawings of the fixed prompts, evenly over the run, the oldest first and the newest among them.
    func samples() -> [SampleDrawing] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.samples)) ?? []
        let steps = names.compactMap { Self.step(ofDrawing: $0) }.sorted()
        let count = min(steps.count, Self.drawings)
        let chosen = (0..<count).map { count == 1 ? steps[0] : steps[$0 * (steps.count - 1) / (count - 1)] }
        return chosen.compactMap { step in
            guard let data = FileManager.default.contents(atPath: drawing(step) + "/prompts.jsonl") else { return nil }
            let lines = data.split(separator: UInt8(ascii: "\n")).prefix(Self.pictures)
            let prompts = lines.compactMap { try? JSONDecoder().decode(PromptLine.self, from: Data($0)).prompt }
            return SampleDrawing(step: step, prompts: prompts.map { String($0.prefix(200)) })
        }
    }

    /// A picture of a drawing.
    /// - Returns: The bytes of a PNG file; nil when there is none.
    func picture(_ number: Int, ofStep step: Int) -> Data? {
        guard step >= 0, (0..<Self.pictures).contains(number),
            let data = FileManager.default.contents(atPath: drawing(step) + "/" + Self.digits(number, 6) + ".png"),
            data.count <= Self.pictureBytes
        else { return nil }
        return data
    }

    private struct PromptLine: Decodable {
        let prompt: String
    }

    private func drawing(_ step: Int) -> String { directory.samples + "/step-" + Self.digits(step, 8) }

    static func step(ofDrawing name: String) -> Int? {
        name.wholeMatch(of: /step-(\d{8,})/).flatMap { Int($0.1) }
    }

    private static func digits(_ number: Int, _ count: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }
}

/// The histories that a server was asked for lately.
final class RunHistories: Sendable {
    private let known = Mutex<[String: RunHistory]>([:])
    private static let limit = 32

    func of(_ directory: RunDirectory) -> RunHistory {
        known.withLock { known in
            if let history = known[directory.path] { return history }
            // Whoever looks at so many runs can wait until a file is read again.
            if known.count >= Self.limit { known = [:] }
            let history = RunHistory(directory)
            known[directory.path] = history
            return history
        }
    }
}

/// A checkpoint in a list.
public struct CheckpointItem: Codable, Sendable, Equatable {
    public var step: Int
    /// In seconds since 1970.
    public var created: Double
    public var bytes: Int
}

/// Pictures of the fixed prompts after a step, as `samples/STEP/0`, `samples/STEP/1` and so on.
public struct SampleDrawing: Codable, Sendable, Equatable {
    public var step: Int
    public var prompts: [String]
}
