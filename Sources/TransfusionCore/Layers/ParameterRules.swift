/// Which parameters of a model are trained, and how fast, by patterns of their names.
///
/// In a pattern `*` stands for any characters, also for none and for dots: `model.layers.*` names all parameters of all
/// blocks, `model.layers.1.*` those of the second one.
public struct ParameterRules: Sendable, Equatable {
    /// What the learning rate of the schedule is multiplied by.
    public struct LearningRate: Sendable, Equatable {
        public var pattern: String
        public var factor: Double

        public init(_ pattern: String, factor: Double) {
            self.pattern = pattern
            self.factor = factor
        }
    }

    /// Patterns of parameters that keep their values: they have no gradient and no moments.
    public var frozen: [String]
    /// Where several match, the last one counts.
    public var learningRates: [LearningRate]

    public init(frozen: [String] = [], learningRates: [LearningRate] = []) {
        self.frozen = frozen
        self.learningRates = learningRates
    }

    func isFrozen(_ name: String) -> Bool { frozen.contains { Self.matches($0, name) } }

    func learningRateFactor(_ name: String) -> Double {
        learningRates.last { Self.matches($0.pattern, name) }?.factor ?? 1
    }

    static func matches(_ pattern: String, _ name: String) -> Bool {
        let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
        guard parts.count > 1, let first = parts.first, let last = parts.last else { return pattern == name }
        guard name.hasPrefix(first) else { return false }
        var rest = name.dropFirst(first.count)
        // The first place of each part leaves the most for those after it.
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let place = rest.firstRange(of: part) else { return false }
            rest = rest[place.upperBound...]
        }
        return rest.hasSuffix(last)
    }
}

// What is wrong with rules.
extension ParameterRules {
    public enum Part: Sendable {
        case frozen
        case learningRates
    }

    /// Why a model cannot be trained by the rules: the end of a sentence that begins with the part.
    ///
    /// - Parameter groups: The parameters of the model, made with these rules; those of a group lie beside each other.
    package func problems(of groups: [[Parameter]]) -> [(part: Part, message: String)] {
        let parameters = groups.joined()
        guard let example = parameters.first(where: \.isMatrix)?.name else { return [] }
        var problems: [(part: Part, message: String)] = []
        func require(_ part: Part, _ pattern: String) {
            guard !parameters.contains(where: { Self.matches(pattern, $0.name) }) else { return }
            problems.append(
                (part, "\"\(pattern)\" matches no parameter of the model; a name is, for example, \(example)"))
        }
        for pattern in frozen { require(.frozen, pattern) }
        for rate in learningRates {
            require(.learningRates, rate.pattern)
            let named = parameters.filter { Self.matches(rate.pattern, $0.name) }
            if !named.isEmpty, named.allSatisfy(\.isFrozen) {
                problems.append(
                    (
                        .learningRates,
                        "\"\(rate.pattern)\" matches only what optimizer.frozen keeps as it is; leave it away"
                    ))
            }
        }
        guard parameters.contains(where: { !$0.isFrozen }) else {
            return problems + [(.frozen, "leaves no parameter of the model to train; freeze less")]
        }
        for group in groups {
            guard let frozen = group.first(where: \.isFrozen), let trained = group.first(where: { !$0.isFrozen }) else {
                continue
            }
            problems.append(
                (
                    .frozen,
                    "freezes \(frozen.name) and not \(trained.name), which are one product; name both, or neither"
                ))
        }
        return problems
    }
}
