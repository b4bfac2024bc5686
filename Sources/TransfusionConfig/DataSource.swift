extension RunConfiguration.DataSet {
    /// One data set of a mixture, and its weight from a step on.
    public struct Source: Sendable, Equatable {
        /// A directory made by `tf-data`.
        public var path: String
        /// How much of the data comes from here, beside the weights of the others.
        public var weight = 1.0
        /// Steps that are done before the weight holds.
        public var fromStep = 0

        public init(path: String, weight: Double = 1, fromStep: Int = 0) {
            self.path = path
            self.weight = weight
            self.fromStep = fromStep
        }
    }

    /// All data sets of the run: those of `sources`, or `path` alone.
    public var allSources: [Source] { sources.isEmpty ? [Source(path: path)] : sources }

    /// Where the data sets of the run lie, each once.
    public var paths: [String] {
        allSources.map(\.path).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    /// The key that names them.
    public var pathsKey: String { sources.isEmpty ? "data.path" : "data.sources" }

    /// `path` as a value that may be absent.
    var pathIfGiven: String? {
        get { path.isEmpty ? nil : path }
        set { path = newValue ?? "" }
    }

    /// The weights that hold once so many steps are done, in the order of `paths`.
    func weights(after steps: Int) -> [Double] {
        paths.map { path in
            allSources.filter { $0.path == path && $0.fromStep <= steps }.max { $0.fromStep < $1.fromStep }?.weight ?? 0
        }
    }
}

extension RunConfiguration {
    /// The smallest share that a data set may have of a mixture: less would not get one of 65,536 places.
    static let smallestShare = 0x1p-16

    /// What is wrong with the data sets that the configuration names, without a look at them.
    var sourceProblems: [ConfigurationProblem] {
        let key = "data.sources"
        if data.sources.isEmpty { return [] }
        guard data.path.isEmpty else {
            return [
                ConfigurationProblem(
                    key, "cannot stand beside data.path (\(data.path)); name that data set among the sources")
            ]
        }
        var problems: [ConfigurationProblem] = []
        for (index, source) in data.sources.enumerated() {
            let before = data.sources[..<index].filter { $0.path == source.path }
            if before.contains(where: { $0.fromStep == source.fromStep }) {
                problems.append(
                    ConfigurationProblem(
                        key, "\(source.path) has two weights from step \(source.fromStep) on; leave one of them away"))
            }
            if source.fromStep >= schedule.steps {
                problems.append(
                    ConfigurationProblem(
                        key,
                        "\(source.path): from_step \(source.fromStep) is past the end of the run; use at most "
                            + "\(schedule.steps - 1), or more schedule.steps"))
            }
            let isEnd = data.sources.contains {
                $0.path == source.path && $0.fromStep < source.fromStep && $0.weight > 0
            }
            if source.weight == 0, !isEnd {
                problems.append(
                    ConfigurationProblem(
                        key,
                        "\(source.path): a weight of 0 gives it no part in the run; use one above 0, or leave it away "
                            + "(0 can only end the part of a source that has one in earlier steps)"))
            }
        }
        guard problems.isEmpty else { return problems }
        return Set(data.sources.map(\.fromStep)).union([0]).sorted().compactMap(shareProblem)
    }

    /// What is wrong with the weights that hold once so many steps are done.
    private func shareProblem(after steps: Int) -> ConfigurationProblem? {
        let weights = data.weights(after: steps)
        let sum = weights.reduce(0, +)
        guard sum > 0 else {
            return ConfigurationProblem(
                "data.sources", "no source has a weight from step \(steps) on; give one from_step: \(steps)")
        }
        guard let index = weights.firstIndex(where: { $0 > 0 && $0 / sum < Self.smallestShare }) else { return nil }
        return ConfigurationProblem(
            "data.sources",
            "\(data.paths[index]): a weight of \(weights[index].short) of \(sum.short) is less than one in 65536; use at "
                + "least \((sum * Self.smallestShare).short)")
    }

    static let pathSummary = "Directory of the data set, as made by tf-data. Its digest, not its path, identifies it."
}
