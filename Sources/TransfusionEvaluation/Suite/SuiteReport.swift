import Foundation
import TransfusionCheckpoint
import TransfusionData
import TransfusionInference
import TransfusionSupport

/// What a suite has found.
public struct SuiteReport: Encodable, Sendable, Equatable {
    /// A line of the table.
    public struct Row: Encodable, Sendable, Equatable {
        /// From text or images to text or images, as in `T → I`.
        public let kind: String
        public let benchmark: String
        public let measure: String
        public let value: Double
    }

    public struct LeftOut: Encodable, Sendable, Equatable {
        public let measure: String
        public let reason: String
    }

    public let model: String
    /// The data set and its split.
    public let data: String?
    public let split: String
    /// Nil when none were drawn.
    public let pictures: Int?
    public let table: [Row]
    /// The reports of the measures themselves, by the names of the parts.
    let measures: [String: JSONValue]
    public let leftOut: [LeftOut]
    /// How pictures were drawn.
    private let drawing: String

    enum CodingKeys: String, CodingKey {
        case model, data, split, pictures, table, measures, drawing
        case leftOut = "left_out"
    }

    init(
        _ suite: SuiteEvaluation, _ source: SuiteSource, _ results: [SuitePart: JSONValue], _ leftOut: [LeftOut]
    ) {
        model = source.archive.name
        data = source.dataset?.path
        split = suite.split
        pictures = results[.pictures]?["pictures"]?.integer
        drawing = "\(suite.settings.steps) steps, guidance \(suite.settings.guidanceScale), seed \(suite.seed)"
        measures = Dictionary(uniqueKeysWithValues: results.map { ($0.key.name, $0.value) })
        self.leftOut = leftOut
        table = Self.table(suite, results)
    }

    private static func table(_ suite: SuiteEvaluation, _ results: [SuitePart: JSONValue]) -> [Row] {
        var rows: [Row] = [], accuracies: [Double] = []
        func add(_ kind: String, _ benchmark: String, _ measure: String, _ value: Double?) {
            if let value { rows.append(Row(kind: kind, benchmark: benchmark, measure: measure, value: value)) }
        }
        let parts = results.sorted { $0.key.name < $1.key.name }
        for (part, report) in parts {
            guard case .perplexity(let file) = part else { continue }
            add("T → T", Paths.stem(of: file), "perplexity", report["token_perplexity"]?.number)
        }
        for (part, report) in parts {
            guard case .ranked(let file) = part else { continue }
            let accuracy = report["results"]?[Paths.stem(of: file)]?["acc,none"]?.number
            add("T → T", Paths.stem(of: file), "accuracy", accuracy.map { 100 * $0 })
            if let accuracy { accuracies.append(100 * accuracy) }
        }
        if accuracies.count > 1 {
            let mean = accuracies.reduce(0, +) / Double(accuracies.count)
            add("T → T", "all \(accuracies.count) tasks", "mean accuracy", mean)
        }
        add("I → T", "captions", "CIDEr", results[.cider]?["cider"]?.number.map { 100 * $0 })
        let distance = suite.features == .random ? "Fréchet distance, random features" : "FID"
        add("T → I", "captions", distance, results[.frechet]?["frechet_distance"]?.number)
        add("T → I", "captions", "CLIP score", results[.clipScore]?["clip_score"]?.number)
        let right = results[.composition]?["all"]?["accuracy"]?.number
        add("T → I", "scenes", "composition", right.map { 100 * $0 })
        return rows
    }

    /// A page with the table.
    func markdown(hasSheet: Bool) -> String {
        var lines = ["# \(model): the measures of Table 1", ""]
        if let data { lines += ["Data: `\(data)`, split `\(split)`.", ""] }
        if let pictures { lines += ["Pictures: \(pictures), drawn in \(drawing).", ""] }
        lines += ["| in → out | benchmark | measure | value |", "|---|---|---|---|"]
        lines += table.map { row in
            "| \(row.kind) | \(row.benchmark) | \(row.measure) | \(String(format: "%.4g", row.value)) |"
        }
        if !leftOut.isEmpty {
            lines += ["", "Not measured:", ""] + leftOut.map { "- \($0.measure): \($0.reason)" }
        }
        if hasSheet {
            lines += ["", "Pictures of the data set, beside what was drawn for their captions:", "", "![](sheet.png)"]
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
