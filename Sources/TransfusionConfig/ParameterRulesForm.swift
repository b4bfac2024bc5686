internal import TransfusionCore
internal import TransfusionModels
internal import Yams

extension ValueForm where Value == [ParameterRules.LearningRate] {
    private static var mostPatterns: Int { 64 }

    /// Patterns of names with a factor each, as in `{"patch_*": 2}`.
    static var learningRates: ValueForm {
        let description = "mapping of at most \(mostPatterns) patterns of names to factors above 0, at most 1000"
        return ValueForm(description: description) { node throws(UnsuitableValue) in
            guard let mapping = node.mapping, mapping.count <= mostPatterns else {
                throw UnsuitableValue(message: "must be a \(description)")
            }
            var rates: [ParameterRules.LearningRate] = []
            for (pattern, factor) in mapping {
                let pattern = pattern.scalar?.string ?? ""
                do throws(UnsuitableValue) {
                    rates.append(
                        ParameterRules.LearningRate(
                            pattern, factor: try ValueForm<Double>.positiveNumber(to: 1000).read(factor)))
                } catch {
                    throw UnsuitableValue(
                        message: "\(YAMLText.escaped(pattern.prefix(60))) \(error.message); "
                            + "optimizer.frozen stops parameters")
                }
            }
            return rates
        } write: { rates in
            let items = rates.map { "\(YAMLText.escaped($0.pattern)): \(YAMLText.number($0.factor))" }
            return "{" + items.joined(separator: ", ") + "}"
        }
    }
}

extension RunConfiguration {
    /// Of the patterns of parameters, for sizes that make a model.
    var ruleProblems: [ConfigurationProblem] {
        guard optimizer.rules != ParameterRules() else { return [] }
        // Names depend neither on the vocabulary nor on the size of the images.
        let model = modelConfiguration(
            vocabulary: 4, imageChannels: 3, imageHeight: model.patch, imageWidth: model.patch, beginOfText: 0,
            endOfText: 1, beginOfImage: 2, endOfImage: 3)
        return TransfusionModel.problems(of: optimizer.rules, model).map { problem in
            let key =
                switch problem.part {
                case .frozen: "optimizer.frozen"
                case .learningRates: "optimizer.learning_rate_factors"
                }
            return ConfigurationProblem(key, problem.message)
        }
    }
}
