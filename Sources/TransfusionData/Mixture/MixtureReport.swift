/// What a run takes from its data sets: how much of each, how often over, and what its batches hold.
public struct MixtureReport: Codable, Equatable, Sendable, CustomStringConvertible {
    public struct Source: Codable, Equatable, Sendable {
        public var path: String
        public var digest: String
        public var pairs: Int
        /// Tokens of the text, markers of the documents included.
        public var textTokens: Int
        /// How often the run sees its pairs, and its text; nil for what it does not have.
        public var pairEpochs: Double?
        public var textEpochs: Double?
    }

    /// Steps with the same weights.
    public struct Phase: Codable, Equatable, Sendable {
        /// Steps that are done when it begins.
        public var fromStep: Int
        /// Of the pairs, and of the text in turn, in the order of the sources.
        public var pairShares: [Double]
        public var textShares: [Double]
        public var batches: BatchShares
    }

    public var digest: String
    public var steps: Int
    /// In the order of their digests.
    public var sources: [Source]
    public var phases: [Phase]

    /// - Parameter steps: Of the whole run.
    public init(_ batches: BatchSource, steps: Int) throws(DataError) {
        self.steps = steps
        digest = batches.data.digest
        let epochs = try batches.epochs(before: steps)
        sources = zip(batches.data.datasets, epochs).enumerated().map { index, source in
            Source(
                path: source.0.path, digest: source.0.manifest.digest, pairs: batches.streams.splits[index].pairs,
                textTokens: batches.streams.text[index].passLength, pairEpochs: source.1.pairs,
                textEpochs: source.1.text)
        }
        phases = batches.phases.filter { $0.steps.lowerBound < steps }.map { phase in
            Phase(
                fromStep: phase.steps.lowerBound,
                pairShares: epochs.indices.map { phase.pairs?.share(of: $0) ?? 0 },
                textShares: epochs.indices.map { phase.text?.share(of: $0) ?? 0 }, batches: phase.shares)
        }
    }

    /// Lines for a person; one of each data set, and one of each phase.
    public var lines: [String] {
        let several = sources.count > 1
        let heading = several ? ["mixture of \(sources.count) data sets, digest \(digest.prefix(12))"] : []
        return heading
            + sources.map { source in
                "\(source.path), digest \(source.digest.prefix(12)): "
                    + (seen(source.pairEpochs, "\(source.pairs) pairs") + seen(source.textEpochs, "text"))
                    .joined(separator: ", ") + " in \(steps) steps"
            }
            + phases.map { phase in
                (several ? "from step \(phase.fromStep) on: \(parts(phase)); " : "") + "\(phase.batches)"
            }
    }

    public var description: String { lines.joined(separator: "\n") }

    private func seen(_ epochs: Double?, _ what: String) -> [String] {
        epochs.map { ["\(Self.short($0)) epochs of its \(what)"] } ?? []
    }

    private func parts(_ phase: Phase) -> String {
        sources.indices.compactMap { source -> String? in
            let shares = [("pairs", phase.pairShares[source]), ("text", phase.textShares[source])]
                .filter { $0.1 > 0 }.map { "\(Self.short(100 * $0.1)) % of the \($0.0)" }
            return shares.isEmpty ? nil : "\(sources[source].path) \(shares.joined(separator: " and "))"
        }.joined(separator: ", ")
    }

    /// With two digits behind the point where there are few before it.
    static func short(_ number: Double) -> String {
        let scale: Double = number < 100 ? 100 : 1
        let rounded = (number * scale).rounded() / scale
        return rounded == rounded.rounded() && rounded < 1e15 ? "\(Int(rounded))" : "\(rounded)"
    }
}
