public import TransfusionConfig
internal import TransfusionCore

/// The data sets that a run trains on, and how much of its data comes from each from which step on.
///
/// Their order is that of their digests, so neither paths nor the order in which they are named plays a part in what a run does.
public struct DataMixture: Sendable {
    /// Steps with the same weights.
    struct Phase: Sendable, Equatable {
        let firstStep: Int
        /// Of each data set, in units of 2^-32.
        var shares: [Int]
    }

    /// In the order of their digests.
    public let datasets: [PackedDataset]
    /// In the order of the steps; the first begins at 0, and neighbours have different shares.
    let phases: [Phase]
    /// Identifies data sets and weights; that of the data set where there is one only.
    public let digest: String
    /// How all of them store images.
    public let image: DatasetManifest.ImageShape
    /// One of those with latents that name their autoencoder, which is the same for all; nil without any.
    public var latents: PackedDataset? { datasets.first { $0.manifest.images > 0 && $0.manifest.autoencoder != nil } }

    static let unit = 0x1p32

    public var tokens: DatasetManifest.Tokens { datasets[0].manifest.tokens }
    public var tokenizer: Tokenizer { datasets[0].tokenizer }
    /// What it is called in messages.
    public var path: String { datasets.map(\.path).joined(separator: ", ") }

    /// One data set alone.
    public init(_ dataset: PackedDataset) {
        let phase = Phase(firstStep: 0, shares: [Int(Self.unit)])
        self.init([dataset], [phase], dataset.manifest.image, digest: dataset.manifest.digest)
    }

    /// Opens the data sets of a run.
    /// - Throws: `DataError` for one that cannot be opened, or that does not go with the others.
    public init(_ data: RunConfiguration.DataSet) throws(DataError) {
        var opened: [PackedDataset] = []
        for path in data.paths { opened.append(try PackedDataset(path)) }
        try self.init(opened, data.allSources)
    }

    /// - Parameters:
    ///   - opened: Each data set once.
    ///   - sources: Their weights, as a configuration that has been checked names them.
    init(_ opened: [PackedDataset], _ sources: [RunConfiguration.DataSet.Source]) throws(DataError) {
        guard opened.count > 1 else {
            self = DataMixture(opened[0])
            return
        }
        let image = try Self.commonForm(opened)
        let datasets = opened.sorted { $0.manifest.digest < $1.manifest.digest }
        for (first, second) in zip(datasets, datasets.dropFirst())
        where first.manifest.digest == second.manifest.digest {
            throw DataError(
                wrongUse: "data.sources: \(first.path) and \(second.path) are the same data set "
                    + "(\(first.manifest.digest.prefix(12))); leave one of them away, and add up their weights")
        }
        var phases: [Phase] = []
        for step in Set(sources.map(\.fromStep)).sorted() {
            let weights = datasets.map { dataset in
                sources.filter { $0.path == dataset.path && $0.fromStep <= step }.max { $0.fromStep < $1.fromStep }?
                    .weight
                    ?? 0
            }
            let sum = weights.reduce(0, +)
            let phase = Phase(firstStep: step, shares: weights.map { Int(($0 / sum * Self.unit).rounded()) })
            if phase.shares != phases.last?.shares { phases.append(phase) }
        }
        self = DataMixture(datasets, phases, image, digest: Self.digest(datasets, phases))
    }

    private init(
        _ datasets: [PackedDataset], _ phases: [Phase], _ image: DatasetManifest.ImageShape, digest: String
    ) {
        self.datasets = datasets
        self.phases = phases
        self.image = image
        self.digest = digest
    }

    /// Each data set by itself, with a name that no other has: the last parts of its path, as many as that takes.
    ///
    /// One that has text alone still counts as having the images of the others, so that one model fits all of them.
    public var alone: [(name: String, data: DataMixture)] {
        let parts = datasets.map { $0.path.split(separator: "/").map(String.init) }
        func names(_ count: Int) -> [String] { parts.map { $0.suffix(count).joined(separator: "/") } }
        let longest = parts.map(\.count).max() ?? 1
        let count = (1...max(1, longest)).first { Set(names($0)).count == parts.count } ?? longest
        return zip(names(count), datasets).map { name, dataset in
            let phase = Phase(firstStep: 0, shares: [Int(Self.unit)])
            return (name, DataMixture([dataset], [phase], image, digest: dataset.manifest.digest))
        }
    }

    /// Takes what was read so far out of this process's memory.
    func forgetPages() {
        for dataset in datasets { dataset.forgetPages() }
    }

    /// How the data sets store images, which has to be the same for all that have any.
    private static func commonForm(_ datasets: [PackedDataset]) throws(DataError) -> DatasetManifest.ImageShape {
        let first = datasets.first { $0.manifest.images > 0 } ?? datasets[0]
        for dataset in datasets {
            let (tokens, expected) = (dataset.manifest.tokens, datasets[0].manifest.tokens)
            guard tokens == expected else {
                throw DataError(
                    wrongUse:
                        "data.sources: \(dataset.path) was made with the tokenizer \(tokens.tokenizer.prefix(12))…, "
                        + "\(datasets[0].path) with \(expected.tokenizer.prefix(12))…; make it anew with "
                        + "'tf-data import --tokenizer \(datasets[0].path)/\(datasets[0].tokenizer.form.fileName)'")
            }
            guard dataset.manifest.images == 0 || dataset.manifest.image == first.manifest.image else {
                throw DataError(
                    wrongUse: "data.sources: \(dataset.path) has images of \(dataset.manifest.image), \(first.path) of "
                        + "\(first.manifest.image); make it anew in that form")
            }
        }
        let digests = datasets.filter { $0.manifest.images > 0 }.map { ($0.path, $0.manifest.autoencoder?.digest) }
        if let other = digests.first(where: { $0.1 != digests[0].1 }) {
            func name(_ digest: String?) -> String { digest.map { "\($0.prefix(12))…" } ?? "no autoencoder it names" }
            throw DataError(
                wrongUse: "data.sources: \(other.0) has latents of \(name(other.1)), \(digests[0].0) of "
                    + "\(name(digests[0].1)); make both with one autoencoder by 'tf-data encode'")
        }
        return first.manifest.image
    }

    /// Of a text that names each phase with the digests and shares of its data sets, a line each.
    private static func digest(_ datasets: [PackedDataset], _ phases: [Phase]) -> String {
        var text = "transfusion-mixture 1\n"
        for phase in phases {
            text += "from \(phase.firstStep)\n"
            for (dataset, share) in zip(datasets, phase.shares) where share > 0 {
                text += "\(dataset.manifest.digest) \(share)\n"
            }
        }
        return SHA256.hexDigest(Array(text.utf8))
    }
}

extension DatasetManifest.ImageShape: CustomStringConvertible {
    public var description: String {
        "\(channels)×\(height)×\(width) \(element.rawValue)" + (codes.map { " of \($0) codes" } ?? "")
    }
}
