import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionData
import TransfusionModels
import TransfusionSupport

/// One trained model: how large it is, on how much it was trained, and what was measured of it.
public struct ScalingRow: Encodable, Sendable, Equatable {
    public let family: String
    public let parameters: Double
    /// Rows that the model was trained on, text tokens and image patches together.
    public let tokens: Double
    public let metrics: [String: Double]
    /// Where the row comes from: `FILE:LINE`, or a run.
    public let source: String

    /// Floating-point operations of the training: 6·N·D, without attention (§4.2 of the Transfusion paper, footnote 15).
    public var flops: Double { 6 * parameters * tokens }
}

extension ScalingRow {
    private static let largestFile = 64 << 20
    private static let example = #"{"family": "transfusion", "parameters": 7e9, "tokens": 5e11, "c4": 7.72}"#

    /// The rows of a file with one JSON object a line.
    /// - Throws: `CommandFailure` that names file and line; `DataError` when the file cannot be read.
    static func read(file path: String) throws -> [ScalingRow] {
        try JSONRows.read(path, limit: largestFile, example: example).map { members, source in
            try row(members, source: source)
        }
    }

    private static func row(_ members: [String: JSONValue], source: String) throws -> ScalingRow {
        guard let family = members["family"]?.string, !family.isEmpty else {
            throw CommandFailure("\(source): \"family\" must be a text")
        }
        func size(_ key: String) throws -> Double {
            guard let value = members[key]?.number, (1...1e20).contains(value) else {
                throw CommandFailure("\(source): \"\(key)\" must be a number of at least 1")
            }
            return value
        }
        var metrics: [String: Double] = [:]
        // A text is a remark, and null was not measured.
        for (key, value) in members where !["family", "parameters", "tokens"].contains(key) {
            switch value {
            case .number(let number): metrics[key] = number
            case .null, .string: continue
            default: throw CommandFailure("\(source): \"\(key)\" must be a number, a text or null")
            }
        }
        return ScalingRow(
            family: family, parameters: try size("parameters"), tokens: try size("tokens"), metrics: metrics,
            source: source)
    }

    /// What a run amounts to: its model, the tokens of its last record, and every loss in that.
    /// - Throws: `CommandFailure` that names the run and what it lacks.
    static func read(run path: String, family: String) throws -> ScalingRow {
        let directory = RunDirectory(path)
        let archive = try ModelArchive(directory.checkpoints)
        let log = try Files.readText(directory.metrics)
        let decoder = JSONDecoder()
        // A crash may leave half a line at the end.
        let records = log.split(whereSeparator: \.isNewline).lazy.reversed().compactMap {
            try? decoder.decode([String: JSONValue].self, from: Data($0.utf8))
        }
        guard let record = records.first, let tokens = record["tokens"]?.number, tokens >= 1 else {
            throw CommandFailure("\(directory.metrics): has no record of a step; train the run first")
        }
        let metrics = record.compactMapValues(\.number).filter { name, _ in
            name == "loss" || name.hasPrefix("loss_") || name.hasPrefix("validation_")
        }
        return ScalingRow(
            family: family, parameters: Double(TransfusionModel.parameterCount(archive.configuration)),
            tokens: tokens, metrics: metrics, source: path)
    }
}
