public import ArgumentParser
import Foundation
public import TransfusionBenchmarks
import TransfusionConfig
import TransfusionCore
public import TransfusionModels
public import TransfusionParallel

struct StepCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "step",
        abstract: "Times training steps on made-up data: tokens/s, utilisation, memory by class.",
        discussion: """
            The program after --against is run before each measured step and prints a
            JSON object with the key tokens_per_s (and peak_rss_mib, if it likes) as
            its last line. Each of --layouts, data × tensor, is started with mpirun
            as a job of its own, and so is each of --sweep: sequences of 512 to 8192
            rows, half of them patches; from no images to as many as fit; all model
            sizes. What does not fit into memory is not measured, but estimated. With
            --rates, what 'tf-coord plan' would estimate stands beside each measurement.

            EXAMPLES
              tf-bench step --model 0.16b --sequence 1024 --images 2 --patches 256
              tf-bench step --model tiny --patch-coder unet
              tf-bench step --precision f32 --json
              tf-bench step --against 'python baseline.py --dtype bf16 --compile'
              tf-bench step --layouts 1x1,2x1,1x2 --sequence-parallel
              tf-bench step --layouts 1x1,2x1,1x2 --rates rates.json
              tf-bench step --sweep sequence
              mpirun -n 2 --bind-to none tf-bench step --tensor 2
            """)

    @OptionGroup var measured: MeasuredModel

    @Option(help: "Tokens of a sequence, patches included.")
    var sequence = 1024

    @Option(help: "Images in the sequence.")
    var images = 2

    @Option(help: "Patches of an image; a square number.")
    var patches = 256

    @Option(help: "What turns patches into rows and back: linear or unet.")
    var patchCoder = ModelConfiguration.PatchCoder.linear

    @Option(help: "Sequences that a data-parallel rank computes in a step, one after the other.")
    var microBatches = 4

    @Option(help: "Threads of a rank; unless given, the host's processors are shared out to its ranks.")
    var threads: Int?

    @Option(help: "Ranks that share a model; the others are data-parallel.")
    var tensor = 1

    @Flag(help: "Where ranks share a model, split norms and residuals along the sequence.")
    var sequenceParallel = false

    @Option(help: "fast or elastic: the same bits for every number of data-parallel ranks.")
    var reduction = ReductionOrder.fast

    @Option(help: "Measure these layouts one after the other, as in 1x1,2x1,1x2: data × tensor.")
    var layouts: LayoutList?

    @Option(help: "Measure one after the other: sequence, images or model.")
    var sweep: StepSweep.Axis?

    @Option(help: "With --layouts or --sweep: what 'tf-bench rates --json' printed, to estimate the same steps.")
    var rates: String?

    @Option(help: "none, selective or full.")
    var recompute = TransfusionModel.Recomputation.none

    @OptionGroup var measurement: StepMeasurement

    func validate() throws {
        let side = Int(Double(patches).squareRoot().rounded())
        let checks: [(Bool, String)] = [
            ((1...1 << 20).contains(sequence), "--sequence: must lie between 1 and \(1 << 20)"),
            (images >= 0, "--images: cannot be negative"),
            (
                (1...1 << 20).contains(patches) && side * side == patches,
                "--patches: must be a square number up to \(1 << 20), as in 256"
            ),
            (
                images <= sequence / max(1, patches),
                "--images: \(images) × \(patches) patches do not fit into \(sequence) tokens"
            ),
            ((1...1 << 20).contains(microBatches), "--micro-batches: must lie between 1 and \(1 << 20)"),
            (threads.map { (1...1024).contains($0) } ?? true, "--threads: must lie between 1 and 1024"),
            ((1...4096).contains(tensor), "--tensor: must lie between 1 and 4096"),
            (
                layouts == nil || (tensor == 1 && measurement.against == nil),
                "--layouts: goes without --tensor and --against"
            ),
            (
                sweep == nil || (layouts == nil && measurement.against == nil),
                "--sweep: goes without --layouts and --against"
            ),
            (rates == nil || layouts != nil || sweep != nil, "--rates: goes with --layouts or --sweep"),
        ]
        if let (_, problem) = checks.first(where: { !$0.0 }) { throw ValidationError(problem) }
    }

    func run() throws {
        let machine = try rates.map { try MachineRates.read($0) }
        if let layouts { return try run(StepSweep(layouts: layouts.layouts, settings, machine: machine)) }
        if let sweep { return try run(StepSweep(sweep, settings, machine: machine)) }
        try measurement.run { try StepBenchmark(settings, group: $0) }
    }

    private var settings: StepBenchmark.Settings {
        var settings = StepBenchmark.Settings()
        settings.name = measured.model.rawValue
        settings.sizes = measured.model.sizes
        settings.sequenceLength = sequence
        settings.images = images
        settings.patchesPerImage = patches
        settings.patchCoder = patchCoder
        settings.microBatches = microBatches
        settings.tensor = tensor
        settings.sequenceParallel = sequenceParallel
        settings.order = reduction
        settings.type = measured.precision.type()
        settings.threads = threads
        settings.recomputation = recompute
        return settings
    }
}

extension ModelPreset: ExpressibleByArgument {}
extension StepSweep.Axis: ExpressibleByArgument {}
extension ReductionOrder: ExpressibleByArgument {}
extension TransfusionModel.Recomputation: ExpressibleByArgument {}
extension ModelConfiguration.PatchCoder: ExpressibleByArgument {}
