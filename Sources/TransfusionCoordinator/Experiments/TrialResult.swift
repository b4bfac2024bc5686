internal import TransfusionConfig

/// What is known of a trial that has been trained. It stays when the run's directory is removed to free the disk.
struct TrialResult: Codable, Sendable, Equatable {
    /// The resolved configuration that was trained.
    var configuration: String
    var cost: TrialCost
    /// By the names of the losses.
    var curves: [String: TrialCurve]
    /// In the order in which they were measured.
    var values: [Value] = []

    /// A number that was measured.
    struct Value: Codable, Sendable, Equatable {
        var measure: Experiment.Measure
        /// nil where the run gave none, as when it diverged.
        var number: Double?
    }

    /// Those of `measures` that are still to be taken; one that is defined otherwise now is taken anew.
    func missing(_ measures: [Experiment.Measure]) -> [Experiment.Measure] {
        measures.filter { measure in !values.contains { $0.measure == measure } }
    }

    /// The value of a measure: nil when it was not taken, `.some(nil)` when the run gave none.
    func value(of measure: Experiment.Measure) -> Double?? {
        values.first { $0.measure == measure }.map(\.number)
    }
}

/// What a trial took.
struct TrialCost: Codable, Sendable, Equatable {
    var steps: Int
    /// Text tokens and patches.
    var tokens: Int
    var images: Int
    /// Of training steps: without starts, saves and validation.
    var seconds: Double
    /// nil for what is no Transfusion model.
    var parameters: Int?
    /// Floating-point operations of the model's own code, attention and padding included; nil where they are not known.
    var operations: Double?

    /// 6·N·D, as the paper counts (§4.2, footnote 15).
    var paperOperations: Double? { parameters.map { 6 * Double($0) * Double(tokens) } }
}

/// A loss over the steps, in a bounded number of points.
struct TrialCurve: Codable, Sendable, Equatable {
    var steps: [Int] = []
    var values: [Double] = []

    static let mostPoints = 200

    /// Means over equal shares of the records. What is no number is left out.
    init(_ points: [(step: Int, value: Double)]) {
        let points = points.filter { $0.value.isFinite }
        let stride = max(1, (points.count + Self.mostPoints - 1) / Self.mostPoints)
        var start = 0
        while start < points.count {
            let part = points[start..<min(start + stride, points.count)]
            steps.append(part.last?.step ?? 0)
            values.append(part.reduce(0) { $0 + $1.value } / Double(part.count))
            start += stride
        }
    }
}
