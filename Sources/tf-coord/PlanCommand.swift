import ArgumentParser
import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCoordinator
import TransfusionCore
import TransfusionData
import TransfusionModels

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Estimates which layouts of a run fit a cluster, how fast they are, and how often to save.",
        discussion: """
            Without --rates, tf-bench measures this host first, about a minute. Cores
            are taken to be as fast as those measured. A tensor-parallel group stays
            on one host. What the model estimates, and how far it was off where it was
            measured, is in docs/planning.md.

            EXAMPLES
              tf-coord plan configs/train/quickstart.yaml \\
                --hosts 1 --cores 2 --memory 16
              tf-bench rates --json > rates.json    # on a host of the cluster
              tf-coord plan configs/train/paper-7b-2t.yaml --rates rates.json \\
                --hosts 1000 --cores 64 --memory 256 --bandwidth 100 --latency 5
              tf-coord plan my.yaml --hosts 8 --cores 64 --memory 256 \\
                --layouts 8x1,16x1,8x2 --json
            """)

    @Argument(help: "The configuration of the run, a YAML file.")
    var config: String

    @Option(help: "Hosts, all alike.")
    var hosts: Int

    @Option(help: "Cores of each host.")
    var cores: Int

    @Option(help: "Memory of each host that ranks may take, in GB (10^9 bytes).")
    var memory: Double

    @Option(help: "What a host sends to others while it receives as much, in Gbit/s.")
    var bandwidth = 25.0

    @Option(help: "Of a message between hosts, in microseconds.")
    var latency = 20.0

    @Option(help: "Hours from one failure of a host to its next.")
    var mtbf = 8760.0

    @Option(
        help:
            "GB/s that reach the checkpoints' file system from all hosts together; one disk's, as measured, by default."
    )
    var checkpointRate: Double?

    @Option(help: "What 'tf-bench rates --json' printed; measured now unless given.")
    var rates: String?

    @Option(help: "Only these layouts, as in 8x1,8x2: data × tensor.")
    var layouts: LayoutList?

    @Option(help: "Tokens of the vocabulary, where the data set is not at hand.")
    var vocabulary = 32002

    @Option(
        help:
            "Channels, height and width of images or latents, where the data set is not at hand; 8x32x32 unless given, and 3x256x256 for an autoencoder."
    )
    var image: ImageShape?

    @Option(help: "Codes that images as tokens may have, where the data set is not at hand.")
    var imageCodes = AutoencoderPreset.paper.configuration(.vq).codes

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set batch.micro_sequences=2.")
    var overrides: [String] = []

    @Option(help: "Layouts that are shown at most.")
    var rows = 8

    @Flag(help: "Print JSON: every layout, with all estimates.")
    var json = false

    func validate() throws {
        let checks: [(Bool, String)] = [
            (1...100_000 ~= hosts, "--hosts: must lie between 1 and 100000"),
            (1...4096 ~= cores, "--cores: must lie between 1 and 4096"),
            (memory > 0 && memory <= 1e6, "--memory: must be a positive number of GB"),
            (1e-6...1e6 ~= bandwidth, "--bandwidth: must lie between 1e-6 and 1e6 Gbit/s"),
            (0...1e9 ~= latency, "--latency: must lie between 0 and 1e9 microseconds"),
            (1e-6...1e9 ~= mtbf, "--mtbf: must lie between 1e-6 and 1e9 hours"),
            (
                checkpointRate.map { 1e-6...1e6 ~= $0 } ?? true,
                "--checkpoint-rate: must lie between 1e-6 and 1e6 GB/s"
            ),
            (5...1 << 20 ~= vocabulary, "--vocabulary: must lie between 5 and \(1 << 20)"),
            (2...1 << 16 ~= imageCodes, "--image-codes: must lie between 2 and \(1 << 16)"),
            (rows > 0, "--rows: must be positive"),
        ]
        if let (_, problem) = checks.first(where: { !$0.0 }) { throw ValidationError(problem) }
    }

    func run() throws {
        let configuration = try RunConfiguration.loadWithInitialWeights(config, overrides: overrides)
        switch configuration.task {
        case .transfusion: try planTransfusion(configuration)
        case .autoencoder: try planAutoencoder(configuration)
        }
    }

    private func cluster(_ machine: MachineRates) -> PlannedCluster {
        PlannedCluster(
            hosts: hosts, cores: cores, memoryBytes: Int(memory * 1e9),
            network: NetworkRates(bytesPerSecond: bandwidth * 1e9 / 8, latency: latency / 1e6),
            hostHoursBetweenFailures: mtbf,
            checkpointBytesPerSecond: checkpointRate.map { $0 * 1e9 } ?? machine.diskBytesPerSecond)
    }

    private func planTransfusion(_ configuration: RunConfiguration) throws {
        let data = try dataset(configuration)
        let problems = configuration.problems(imageHeight: data.image.height, imageWidth: data.image.width)
        guard problems.isEmpty else { throw ConfigurationError(problems: problems) }
        let model = configuration.modelConfiguration(
            vocabulary: data.vocabulary, imageCodes: data.codes, imageChannels: data.image.channels,
            imageHeight: data.image.height, imageWidth: data.image.width, beginOfText: 1, endOfText: 2,
            beginOfImage: Int32(data.vocabulary - 2),
            endOfImage: Int32(data.vocabulary - 1))
        // Time and memory go with the images that there are, not with those that were asked for.
        let batches = configuration.missingDatasets.isEmpty ? try configuration.batchSource() : nil
        let mixture = try batches.map { try MixtureReport($0, steps: configuration.schedule.steps) }
        var planned = configuration
        if let batches { planned.data.textImageRatio = batches.shares.textToImageRatio ?? 1000 }
        let machine = try machineRates(configuration)
        let report = try PlanReport(planned, model, on: cluster(machine), machine, only: layouts?.layouts)
        try show(report, data.source, data: mixture?.lines ?? [])
    }

    private func planAutoencoder(_ configuration: RunConfiguration) throws {
        var shape = image ?? ImageShape(channels: 3, height: 256, width: 256)
        var source = "data set \(configuration.data.path) is not here: pictures of \(shape) are assumed"
        if configuration.missingDatasets.isEmpty {
            let found = try configuration.pictureSource().dataset.manifest.image
            shape = ImageShape(channels: found.channels, height: found.height, width: found.width)
            source = "data set \(configuration.data.path): pictures of \(shape)"
        }
        let problems = configuration.problems(imageHeight: shape.height, imageWidth: shape.width)
        guard problems.isEmpty else { throw ConfigurationError(problems: problems) }
        if let problem = configuration.autoencoderProblem(height: shape.height, width: shape.width) {
            throw CommandFailure("--image: \(problem)", .wrongUse)
        }
        let planned = PlannedAutoencoder(
            configuration, channels: shape.channels, height: shape.height, width: shape.width)
        let machine = try machineRates(configuration)
        let report = try PlanReport(configuration, planned, on: cluster(machine), machine, only: layouts?.layouts)
        try show(report, source, data: [])
    }

    private func show(_ report: PlanReport, _ source: String, data: [String]) throws {
        guard !json else {
            return print(String(decoding: try CoordinatorJSON.encode(report, pretty: true), as: UTF8.self))
        }
        print("\(source); \(rates.map { "rates from \($0)" } ?? "rates measured on this host now")")
        for line in data { print("data: \(line)") }
        print(PlanText(report, rows: rows).text)
    }

    /// What the model takes from the data set.
    private func dataset(
        _ configuration: RunConfiguration
    ) throws -> (vocabulary: Int, image: ImageShape, codes: Int, source: String) {
        if let missing = configuration.missingDatasets.first {
            let shape = image ?? ImageShape(channels: 8, height: 32, width: 32)
            let images =
                configuration.model.images == .tokens
                ? "\(shape.height) × \(shape.width) tokens of \(imageCodes) codes" : "\(shape)"
            return (
                vocabulary, shape, imageCodes,
                "data set \(missing) is not here: \(vocabulary) tokens and images of \(images) are assumed"
            )
        }
        let data = try DataMixture(configuration.data)
        let shape = ImageShape(channels: data.image.channels, height: data.image.height, width: data.image.width)
        return (
            data.tokens.vocabulary, shape, data.image.codes ?? 0,
            "data set \(data.path): \(data.tokens.vocabulary) tokens, images of \(shape)"
        )
    }

    private func machineRates(_ configuration: RunConfiguration) throws -> MachineRates {
        let type = configuration.precision == .automatic ? nil : configuration.precision.type()
        guard let rates else {
            StandardStream.error.write(
                "measuring this host with 'tf-bench rates', about a minute; --rates FILE skips it\n")
            return try waitFor { try await RatesMeasurement.run(type: type) }
        }
        let machine = try MachineRates.read(rates)
        guard type == nil || type == machine.type else {
            throw CommandFailure(
                "--rates \(rates): was measured in \(machine.type.rawValue), but the run has precision "
                    + "\(configuration.precision.rawValue); measure with 'tf-bench rates --precision "
                    + "\(configuration.precision.rawValue) --json'", .wrongUse)
        }
        return machine
    }
}

/// Channels, height and width as the command line names them: `8x32x32`.
struct ImageShape: ExpressibleByArgument, CustomStringConvertible {
    let channels: Int
    let height: Int
    let width: Int

    init(channels: Int, height: Int, width: Int) {
        self.channels = channels
        self.height = height
        self.width = width
    }

    init?(argument: String) {
        let parts = argument.split(separator: "x").compactMap { Int($0) }
        guard parts.count == 3, argument.split(separator: "x").count == 3, parts.allSatisfy({ 1...4096 ~= $0 }) else {
            return nil
        }
        self.init(channels: parts[0], height: parts[1], width: parts[2])
    }

    var description: String { "\(channels) × \(height) × \(width)" }
}
