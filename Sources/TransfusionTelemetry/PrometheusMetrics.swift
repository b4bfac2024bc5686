internal import Foundation
public import TransfusionSupport

/// What a run tells Prometheus, as text for the textfile collector of its node exporter.
public struct PrometheusMetrics: Sendable {
    private var latest: StepRecord?
    private var validation: StepRecord.Validation?
    /// Steps that took at most so many seconds; the last counts all.
    private var stepCounts = [Int](repeating: 0, count: bounds.count + 1)
    private var stepSeconds = 0.0
    private var checkpoint: (time: Double, seconds: Double)?

    private static let bounds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250]

    public init() {}

    public mutating func observe(_ record: StepRecord) {
        latest = record
        validation = record.validation ?? validation
        stepSeconds += record.stepSeconds
        stepCounts[Self.bounds.firstIndex { record.stepSeconds <= $0 } ?? Self.bounds.count] += 1
    }

    /// - Parameters:
    ///   - time: When the checkpoint was complete, in seconds since 1970.
    ///   - seconds: How long it took from the first copy to the last rename.
    public mutating func observeCheckpoint(time: Double, seconds: Double) {
        checkpoint = (time, seconds)
    }

    /// Replaces the file at `path`, which the textfile collector reads whole.
    public func write(to path: String) throws(FileFailure) {
        try AtomicFile.write(text.utf8, to: path, durable: false)
    }

    /// The text format 0.0.4.
    public var text: String {
        var text = PrometheusText()
        text.family("build_info", "gauge", "1; the label has the version.", [(["version": ProductVersion.full], 1)])
        if let record = latest {
            text.family("train_step", "gauge", "Steps done.", Double(record.step))
            text.family(
                "train_loss", "gauge", "Mean losses of the last logged steps.",
                record.losses.sorted { $0.key < $1.key }.map { (["modality": $0.key], $0.value) }
                    + [(["modality": "total"], record.loss)])
            if let validation {
                text.family(
                    "validation_loss", "gauge", "Mean losses on data that is not trained on, when last measured.",
                    validation.losses.sorted { $0.key < $1.key }.map { (["modality": $0.key], $0.value) }
                        + [(["modality": "total"], validation.loss)])
            }
            text.family("train_grad_norm", "gauge", "Gradient norm before clipping.", record.gradientNorm)
            text.family("train_learning_rate", "gauge", "Learning rate.", record.learningRate)
            text.family(
                "train_tokens_total", "counter", "Tokens and patches trained on.", Double(record.tokens))
            text.family("train_images_total", "counter", "Images trained on.", Double(record.images))
            if let utilization = record.modelFLOPsUtilization {
                text.family(
                    "train_mfu_ratio", "gauge", "Share of the processors' floating-point rate.", utilization)
            }
            if let share = record.othersShare {
                text.family(
                    "train_others_ratio", "gauge", "Share of the processors that others took.", share)
            }
            text.histogram(
                "train_step_duration_seconds", "Seconds of logged steps.", bounds: Self.bounds, counts: stepCounts,
                sum: stepSeconds)
        }
        if let checkpoint {
            text.family(
                "checkpoint_last_success_timestamp_seconds", "gauge", "When the last checkpoint was complete.",
                checkpoint.time)
            text.family("checkpoint_duration_seconds", "gauge", "How long it took.", checkpoint.seconds)
        }
        return text.text
    }
}

/// Prometheus' text format.
public struct PrometheusText: Sendable {
    public private(set) var text = ""

    public init() {}

    mutating func family(_ name: String, _ type: String, _ help: String, _ value: Double) {
        family(name, type, help, [([:], value)])
    }

    /// - Parameter samples: A value for each set of labels.
    public mutating func family(
        _ name: String, _ type: String, _ help: String, _ samples: [([String: String], Double)]
    ) {
        header(name, type, help)
        for (labels, value) in samples { sample(name, labels, value) }
    }

    /// - Parameter counts: One for each bound, and one for what lies above the last.
    mutating func histogram(_ name: String, _ help: String, bounds: [Double], counts: [Int], sum: Double) {
        header(name, "histogram", help)
        var total = 0
        for (bound, count) in zip(bounds + [.infinity], counts) {
            total += count
            sample(name + "_bucket", ["le": number(bound)], Double(total))
        }
        sample(name + "_sum", [:], sum)
        sample(name + "_count", [:], Double(total))
    }

    private mutating func header(_ name: String, _ type: String, _ help: String) {
        text += "# HELP transfusion_\(name) \(help)\n# TYPE transfusion_\(name) \(type)\n"
    }

    private mutating func sample(_ name: String, _ labels: [String: String], _ value: Double) {
        let list = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(escaped($0.value))\"" }.joined(separator: ",")
        text += "transfusion_\(name)\(list.isEmpty ? "" : "{\(list)}") \(number(value))\n"
    }

    private func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : value.description
    }

    private func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}
