public import TransfusionConfig
import TransfusionCore
public import TransfusionModels

/// What `tf-coord plan` answers: which layouts of a run fit a cluster and how fast they are, and what would make the
/// others fit.
public struct PlanReport: Sendable, Codable {
    /// A table row: a number of data- and tensor-parallel ranks on each host, in its fastest form that fits.
    public struct Row: Sendable, Codable {
        public var layout: PlannedLayout
        /// What the row's faster forms lack.
        public var note: String?
    }

    /// A number of ranks that fits in no form.
    public struct Rejection: Sendable, Codable {
        /// The form that needs the least memory.
        public var layout: PlannedLayout
        public var reason: String
        /// The nearest change with which it fits.
        public var remedy: String?
    }

    /// What a plan depends on of the model.
    public struct Model: Sendable, Equatable, Codable {
        public var parameters: Int
        // Of a Transfusion model.
        public var layers: Int?
        public var width: Int?
        public var heads: Int?
        public var vocabulary: Int?
        public var patchesPerImage: Int?
        /// An autoencoder with what is trained and asked beside it, in words.
        public var autoencoder: String?
    }

    public var run: String
    public var model: Model
    public var steps: Int
    public var tokensPerStep: Int
    public var cluster: PlannedCluster
    public var machine: MachineRates
    /// Those that fit, the most tokens a day first.
    public var rows: [Row]
    public var rejected: [Rejection]
    /// The layout that the configuration itself describes, in its best number of ranks on each host.
    public var configured: PlannedLayout?

    /// - Parameter only: Numbers of data- and tensor-parallel ranks to plan; nil plans all that divide heads and cores.
    /// - Throws: `CommandFailure` when none of `only` is possible.
    public init(
        _ configuration: RunConfiguration, _ model: ModelConfiguration, on cluster: PlannedCluster,
        _ machine: MachineRates, only: [(data: Int, tensor: Int)]? = nil
    ) throws(CommandFailure) {
        let planned = PlannedTransfusion(
            model, sequenceLength: configuration.batch.sequenceLength,
            textToImageRatio: configuration.data.textImageRatio)
        let described = Model(
            parameters: planned.parameterCount, layers: model.layers, width: model.width, heads: model.heads,
            vocabulary: model.vocabulary, patchesPerImage: model.patchesPerImage)
        try self.init(configuration, planned, described, on: cluster, machine, only: only)
    }

    /// The same for a run that trains an autoencoder.
    public init(
        _ configuration: RunConfiguration, _ autoencoder: PlannedAutoencoder, on cluster: PlannedCluster,
        _ machine: MachineRates, only: [(data: Int, tensor: Int)]? = nil
    ) throws(CommandFailure) {
        let settings = configuration.autoencoder, latents = autoencoder.model.downsampling
        let beside: [String?] = [
            autoencoder.discriminator == nil ? nil : "a discriminator",
            autoencoder.hasPerceptualNetwork ? "LPIPS" : nil, autoencoder.hasIdentityNetwork ? "an identity loss" : nil,
        ]
        let names = beside.compactMap(\.self)
        let words =
            "autoencoder \(settings.preset.rawValue), \(settings.kind.rawValue), pictures of \(autoencoder.height) × "
            + "\(autoencoder.width) to latents of \(autoencoder.height / latents) × \(autoencoder.width / latents)"
            + (names.isEmpty ? "" : ", with " + names.joined(separator: ", "))
        try self.init(
            configuration, autoencoder, Model(parameters: autoencoder.parameterCount, autoencoder: words),
            on: cluster, machine, only: only)
    }

    private init(
        _ configuration: RunConfiguration, _ model: any PlannedModel, _ described: Model, on cluster: PlannedCluster,
        _ machine: MachineRates, only: [(data: Int, tensor: Int)]?
    ) throws(CommandFailure) {
        run = configuration.name
        self.model = described
        steps = configuration.schedule.steps
        tokensPerStep = configuration.batch.globalSequences * model.rowsPerSequence
        self.cluster = cluster
        self.machine = machine
        let candidates = LayoutCandidates(configuration, model, cluster, machine)
        var rows: [Row] = [], rejected: [Rejection] = []
        for group in try candidates.groups(only) {
            if let row = Self.row(group, configuration) {
                rows.append(row)
            } else if let rejection = candidates.rejection(of: group) {
                rejected.append(rejection)
            }
        }
        self.rows = rows.sorted { $0.layout.tokensPerDay > $1.layout.tokensPerDay }
        self.rejected = rejected.sorted { $0.layout.hostMemoryBytes < $1.layout.hostMemoryBytes }
        configured = candidates.configured
    }

    /// The fastest form that fits, and why it is not another.
    private static func row(_ forms: [PlannedLayout], _ configuration: RunConfiguration) -> Row? {
        guard let best = forms.filter(\.fits).max(by: { $0.tokensPerDay < $1.tokensPerDay }) else { return nil }
        var notes: [String] = []
        let faster = forms.filter { !$0.fits && $0.tokensPerDay > best.tokensPerDay }
        if let near = faster.min(by: { $0.hostMemoryBytes < $1.hostMemoryBytes }) {
            notes.append("\(near.choice.form) needs \(Self.gigabytes(near.hostMemoryBytes)) a host")
        }
        if best.idle > 0.01 {
            let slots = configuration.batch.globalSequences / best.choice.microSequences
            notes.append("\(Int((100 * best.idle).rounded())) % idle: \(slots) micro-batches on \(best.data) ranks")
        }
        return Row(layout: best, note: notes.isEmpty ? nil : notes.joined(separator: "; "))
    }

    static func gigabytes(_ bytes: Int) -> String {
        let value = Double(bytes) / 1e9
        return value < 100 ? "\((value * 10).rounded() / 10) GB" : "\(Int(value.rounded())) GB"
    }
}
