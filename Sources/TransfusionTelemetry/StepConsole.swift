internal import Foundation
internal import TransfusionConfig

/// Turns step records into lines for people.
public struct StepConsole: Sendable {
    private let totalSteps: Int
    private var losses = OutlierWindow()
    private var gradientNorms = OutlierWindow()
    private var latest: StepRecord?
    /// Mean seconds of a step, with the weight of old steps fading.
    private var meanSeconds: Double?

    public init(totalSteps: Int) {
        self.totalSteps = totalSteps
    }

    /// The line for a record, as in `step 120/2000 loss 2.31 (image 0.082 text 1.90) gnorm 0.71 (+0.3z) lr 3.0e-4 …`.
    public mutating func line(_ record: StepRecord) -> String {
        var line = [
            "step \(record.step)/\(totalSteps)",
            "loss \(significant(record.loss))" + z(losses.zScore(adding: record.loss))
                + (parts(record.losses).map { " (\($0))" } ?? ""),
            "gnorm \(significant(record.gradientNorm))" + z(gradientNorms.zScore(adding: record.gradientNorm)),
            "lr " + String(format: "%.1e", record.learningRate).replacing("e-0", with: "e-"),
            "tok/s " + count(record.tokensPerSecond),
        ]
        if let validation = record.validation {
            let parts = parts(validation.losses).map { " (\($0))" } ?? ""
            line.insert("val \(significant(validation.loss))" + parts, at: 2)
        }
        if let previous = latest, record.step > previous.step, record.stepSeconds > 0, record.images > 0 {
            let images = Double(record.images - previous.images) / Double(record.step - previous.step)
            line.append("img/s " + count(images / record.stepSeconds))
        }
        line.append(String(format: "step %.2fs", record.stepSeconds))
        let shares = [
            ("data", record.dataSeconds), ("comm", record.communicationSeconds), ("wait", record.waitSeconds),
        ]
        line.append(
            "[" + shares.map { "\($0.0) \(percent($0.1, of: record.stepSeconds))" }.joined(separator: " ") + "]")
        if let utilization = record.modelFLOPsUtilization { line.append("mfu \(percent(utilization, of: 1))") }
        if let share = record.othersShare, share > ProcessorUse.quietShare {
            line.append("others \(percent(share, of: 1))")
        }
        line.append(String(format: "mem %.1fG", Double(record.memoryBytes) / 1e9))
        let remaining = Double(max(0, totalSteps - record.step)) * typicalSeconds(with: record)
        line.append("eta " + (remaining.isFinite && remaining < 1e12 ? Duration.seconds(remaining).brief : "?"))
        latest = record
        return line.joined(separator: " ")
    }

    /// The first step of a process pays for allocation: it is a measure only until there is another.
    private mutating func typicalSeconds(with record: StepRecord) -> Double {
        guard latest != nil else { return record.stepSeconds }
        let mean = meanSeconds.map { 0.95 * $0 + 0.05 * record.stepSeconds } ?? record.stepSeconds
        meanSeconds = mean
        return mean
    }

    private func z(_ score: Double?) -> String {
        score.map { String(format: " (%+.1fz)", $0) } ?? ""
    }

    /// As in `image 0.082 text 1.90`; nil when the loss has no parts.
    private func parts(_ losses: [String: Double]) -> String? {
        guard !losses.isEmpty else { return nil }
        return losses.sorted { $0.key < $1.key }.map { "\($0.key) \(significant($0.value))" }.joined(separator: " ")
    }

    /// Three significant digits.
    private func significant(_ value: Double) -> String {
        guard value.isFinite else { return "\(value)" }
        return switch abs(value) {
        case 100...: String(format: "%.0f", value)
        case 10..<100: String(format: "%.1f", value)
        case 1..<10: String(format: "%.2f", value)
        default: String(format: "%.3g", value)
        }
    }

    private func count(_ value: Double) -> String {
        switch value {
        case 1e6...: String(format: "%.1fM", value / 1e6)
        case 1e3..<1e6: String(format: "%.1fk", value / 1e3)
        default: String(format: "%.0f", value)
        }
    }

    private func percent(_ part: Double, of whole: Double) -> String {
        whole > 0 ? String(format: "%.0f%%", part / whole * 100) : "0%"
    }
}
