internal import TransfusionCheckpoint
internal import TransfusionModels

/// What the steps since the last record of metrics.jsonl amounted to.
///
/// A checkpoint between two records keeps it, so that a run that goes on logs what one that was never stopped does.
struct LoggedInterval: Equatable {
    private(set) var steps = 0
    /// Over all steps: the mean is one over all things that were counted, so a step with many counts for more.
    private(set) var losses: [NamedSum] = []
    private var gradientNorms = 0.0
    /// What the run does otherwise than before, since these steps.
    var changes: [String] = []

    mutating func add(_ step: StepSummary) {
        steps += 1
        for loss in step.losses {
            if let index = losses.firstIndex(where: { $0.name == loss.name }) {
                losses[index].sum += loss.sum
                losses[index].count += loss.count
            } else {
                losses.append(loss)
            }
        }
        gradientNorms += step.gradientNorm
    }

    /// The mean over the steps.
    var meanGradientNorm: Double { gradientNorms / Double(max(1, steps)) }
}

extension LoggedInterval {
    private enum Key: String {
        case steps, changes, losses, name, sum, count, weight
        case gradientNorms = "grad_norm"
    }

    private static func object(_ fields: [Key: JSONValue]) -> JSONValue {
        .object(Dictionary(uniqueKeysWithValues: fields.map { ($0.key.rawValue, $0.value) }))
    }

    /// As a checkpoint stores it.
    var json: JSONValue {
        let losses = losses.map { loss in
            Self.object([
                .name: .string(loss.name), .sum: .number(loss.sum), .count: .number(Double(loss.count)),
                .weight: .number(loss.weight),
            ])
        }
        return Self.object([
            .steps: .number(Double(steps)), .losses: .array(losses), .gradientNorms: .number(gradientNorms),
            .changes: .array(changes.map(JSONValue.string)),
        ])
    }

    /// Empty when the checkpoint holds none that this version understands.
    init(json: JSONValue?) {
        func field(_ json: JSONValue?, _ key: Key) -> JSONValue? { json?[key.rawValue] }
        guard case .array(let values)? = field(json, .losses), let steps = field(json, .steps)?.integer,
            let gradientNorms = field(json, .gradientNorms)?.number
        else { return }
        let losses = values.compactMap { value -> NamedSum? in
            guard let name = field(value, .name)?.string, let sum = field(value, .sum)?.number,
                let count = field(value, .count)?.integer, let weight = field(value, .weight)?.number
            else { return nil }
            return NamedSum(name: name, sum: sum, count: count, weight: weight)
        }
        guard losses.count == values.count else { return }
        self.steps = steps
        self.losses = losses
        self.gradientNorms = gradientNorms
        if case .array(let changes)? = field(json, .changes) { self.changes = changes.compactMap(\.string) }
    }
}
