public import Foundation

/// What a training step reports: one line of metrics.jsonl.
///
/// Losses are those of the whole global batch, the same on every rank. Seconds are those of the reporting rank.
public struct StepRecord: Sendable, Equatable {
    /// Steps done, this one included.
    public var step: Int
    /// Tokens trained on since the beginning of the run, patches included and padding not.
    public var tokens: Int
    /// Images trained on since the beginning of the run.
    public var images: Int
    /// The weighted sum of the parts. Losses are means over the steps since the record before.
    public var loss: Double
    /// The parts of the loss, by the names that the task gives them.
    public var losses: [String: Double]
    /// The same on data that is not trained on; nil where that was not measured.
    public var validation: Validation?
    /// Before clipping; the mean of these steps.
    public var gradientNorm: Double
    public var learningRate: Double
    public var stepSeconds: Double
    public var tokensPerSecond: Double
    /// Floating-point operations of the model per second, as a share of what the processors can do; nil while that could
    /// not be measured without others using them.
    public var modelFLOPsUtilization: Double?
    /// The share of all ranks' processors that other processes, and other guests of the machine, took; nil where the kernel
    /// does not say.
    public var othersShare: Double?
    public var dataSeconds: Double
    public var communicationSeconds: Double
    public var waitSeconds: Double
    /// Resident memory of the reporting rank.
    public var memoryBytes: Int
    /// Text tokens for each image patch; not a number where there were no images, or in records of earlier versions.
    public var textToImageRatio: Double
    /// The share of the rows that held nothing; not a number in records of earlier versions.
    public var padding: Double
    /// Keys of the configuration that the run continues with changed since the record before, as in `schedule.steps: 100 → 200`.
    public var changes: [String]

    public init(
        step: Int, tokens: Int, images: Int, loss: Double, losses: [String: Double], gradientNorm: Double,
        learningRate: Double, stepSeconds: Double, tokensPerSecond: Double, modelFLOPsUtilization: Double?,
        othersShare: Double? = nil, dataSeconds: Double, communicationSeconds: Double, waitSeconds: Double,
        memoryBytes: Int,
        textToImageRatio: Double = .nan, padding: Double = .nan, validation: Validation? = nil,
        changes: [String] = []
    ) {
        self.step = step
        self.tokens = tokens
        self.images = images
        self.loss = loss
        self.losses = losses
        self.gradientNorm = gradientNorm
        self.learningRate = learningRate
        self.stepSeconds = stepSeconds
        self.tokensPerSecond = tokensPerSecond
        self.modelFLOPsUtilization = modelFLOPsUtilization
        self.othersShare = othersShare
        self.dataSeconds = dataSeconds
        self.communicationSeconds = communicationSeconds
        self.waitSeconds = waitSeconds
        self.memoryBytes = memoryBytes
        self.textToImageRatio = textToImageRatio
        self.padding = padding
        self.validation = validation
        self.changes = changes
    }

    /// Losses after the step on data that is not trained on.
    public struct Validation: Sendable, Equatable {
        public var loss: Double
        public var losses: [String: Double]

        public init(loss: Double, losses: [String: Double]) {
            self.loss = loss
            self.losses = losses
        }
    }
}

extension StepRecord: Decodable {
    private enum CodingKeys: String, CodingKey {
        case step, tokens, images, loss
        case gradientNorm = "grad_norm"
        case learningRate = "learning_rate"
        case stepSeconds = "step_seconds"
        case tokensPerSecond = "tokens_per_second"
        case modelFLOPsUtilization = "mfu"
        case othersShare = "others_share"
        case dataSeconds = "data_seconds"
        case communicationSeconds = "communication_seconds"
        case waitSeconds = "wait_seconds"
        case memoryBytes = "memory_bytes"
        case textToImageRatio = "text_image_ratio"
        case padding, changes
    }

    /// The name of any field.
    private struct FieldName: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    /// Before the name of a part of the loss.
    private static let partPrefix = "loss_"
    private static let validationName = "validation_loss"

    /// A name as it stands between the quotes of JSON. Names of data sets may hold anything that a path can.
    private static func escaped(_ name: String) -> String {
        guard name.utf8.contains(where: { $0 < 32 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) else {
            return name
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return (try? encoder.encode(name)).map { String(decoding: $0.dropFirst().dropLast(), as: UTF8.self) } ?? name
    }

    /// The record as one line of JSON, without the newline. Numbers have the fewest digits that read back as the same
    /// bits; those that are not finite, which JSON lacks, become null.
    public var json: String {
        func number(_ value: Double?) -> String { value.flatMap { $0.isFinite ? $0.description : nil } ?? "null" }
        func parts(_ losses: [String: Double], _ prefix: String) -> [(String, String)] {
            losses.sorted { $0.key < $1.key }.map { (prefix + Self.escaped($0.key), number($0.value)) }
        }
        let before: [(CodingKeys, String)] = [
            (.step, "\(step)"), (.tokens, "\(tokens)"), (.images, "\(images)"), (.loss, number(loss)),
        ]
        let after: [(CodingKeys, String)] = [
            (.gradientNorm, number(gradientNorm)), (.learningRate, number(learningRate)),
            (.stepSeconds, number(stepSeconds)),
            (.tokensPerSecond, number(tokensPerSecond)), (.modelFLOPsUtilization, number(modelFLOPsUtilization)),
            (.othersShare, number(othersShare)), (.dataSeconds, number(dataSeconds)),
            (.communicationSeconds, number(communicationSeconds)),
            (.waitSeconds, number(waitSeconds)), (.memoryBytes, "\(memoryBytes)"),
            (.textToImageRatio, number(textToImageRatio)), (.padding, number(padding)),
        ]
        var fields = before.map { ($0.0.rawValue, $0.1) } + parts(losses, Self.partPrefix)
        fields += after.map { ($0.0.rawValue, $0.1) }
        if let validation {
            fields.append((Self.validationName, number(validation.loss)))
            fields += parts(validation.losses, Self.validationName + "_")
        }
        if !changes.isEmpty, let text = try? JSONEncoder().encode(changes) {
            fields.append((CodingKeys.changes.rawValue, String(decoding: text, as: UTF8.self)))
        }
        return "{" + fields.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
    }

    /// Reads a line of metrics.jsonl; nil when it is none.
    public init?(json line: some DataProtocol) {
        guard let record = try? JSONDecoder().decode(StepRecord.self, from: Data(line)) else { return nil }
        self = record
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func number(_ key: CodingKeys) throws -> Double { try values.decode(Double?.self, forKey: key) ?? .nan }
        func laterNumber(_ key: CodingKeys) throws -> Double {
            try values.decodeIfPresent(Double.self, forKey: key) ?? .nan
        }
        let fields = try decoder.container(keyedBy: FieldName.self)
        func parts(_ prefix: String) throws -> [String: Double] {
            let found = try fields.allKeys.filter { $0.stringValue.hasPrefix(prefix) }.map {
                (String($0.stringValue.dropFirst(prefix.count)), try fields.decode(Double?.self, forKey: $0) ?? .nan)
            }
            return Dictionary(found) { $1 }
        }
        let validationName = FieldName(stringValue: Self.validationName)
        self.init(
            step: try values.decode(Int.self, forKey: .step), tokens: try values.decode(Int.self, forKey: .tokens),
            images: try values.decode(Int.self, forKey: .images), loss: try number(.loss),
            losses: try parts(Self.partPrefix), gradientNorm: try number(.gradientNorm),
            learningRate: try number(.learningRate),
            stepSeconds: try number(.stepSeconds), tokensPerSecond: try number(.tokensPerSecond),
            modelFLOPsUtilization: try values.decode(Double?.self, forKey: .modelFLOPsUtilization),
            othersShare: try values.decodeIfPresent(Double.self, forKey: .othersShare),
            dataSeconds: try number(.dataSeconds),
            communicationSeconds: try number(.communicationSeconds), waitSeconds: try number(.waitSeconds),
            memoryBytes: try values.decode(Int.self, forKey: .memoryBytes),
            textToImageRatio: try laterNumber(.textToImageRatio), padding: try laterNumber(.padding),
            validation: fields.contains(validationName)
                ? Validation(
                    loss: try fields.decode(Double?.self, forKey: validationName) ?? .nan,
                    losses: try parts(Self.validationName + "_")) : nil,
            changes: try values.decodeIfPresent([String].self, forKey: .changes) ?? [])
    }
}
