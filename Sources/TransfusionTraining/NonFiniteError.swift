internal import TransfusionCore
internal import TransfusionSupport

/// Training stopped because a number was no number any more. Nothing has been updated since the step before.
struct NonFiniteError: RecordedError, CustomStringConvertible, Sendable {
    let step: Int
    /// What was found where, as in "rank 1: the gradient of lm_head.weight".
    let findings: [String]
    /// The first rank that found something.
    let rank: Int?

    var record: FailureRecord? { FailureRecord(.nonFinite, rank: rank, step: step) }

    var description: String {
        "step \(step): \(findings.joined(separator: "; ")) is not finite; the weights are those of step \(step - 1). "
            + "Lower schedule.learning_rate, or look at the data of this step"
    }
}

extension ParameterStore {
    /// The first parameter whose gradient is not finite.
    func firstNonFiniteGradient() -> Parameter? {
        parameters.first { parameter in
            guard let gradient = parameter.gradient else { return false }
            return !gradient.f32.allSatisfy(\.isFinite)
        }
    }
}
