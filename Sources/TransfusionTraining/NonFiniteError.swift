internal import TransfusionCore

/// Training stopped because a number was no number any more. Nothing has been updated since the step before.
public struct NonFiniteError: Error, CustomStringConvertible, Sendable {
    public let step: Int
    /// What was found where, as in "rank 1: the gradient of lm_head.weight".
    public let findings: [String]

    public var description: String {
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

    /// The parameter with the largest element in its gradient, as far as its square overflows.
    func largestGradient() -> Parameter? {
        func largest(_ parameter: Parameter) -> Float {
            parameter.gradient?.f32.reduce(0) { max($0, abs($1)) } ?? 0
        }
        return parameters.max { largest($0) < largest($1) }.flatMap { (largest($0) * largest($0)).isFinite ? nil : $0 }
    }
}
