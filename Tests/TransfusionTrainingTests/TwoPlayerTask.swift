import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import TransfusionParallel

@testable import TransfusionTraining

/// A generator and a discriminator of one matrix each, which train against each other (Goodfellow et al. 2014, with the
/// squared errors of Mao et al. 2017). The discriminator begins later.
struct TwoPlayerTask: RunTask {
    struct Batch: Sendable {
        let noise: [Float]
        let real: [Float]
    }

    static let width = 4
    static let firstStepOfDiscriminator = 4
    static let sequences = 8

    let players: [Player]
    private let generator: Linear
    private let discriminator: Linear

    init(_ configuration: RunConfiguration, _ resources: TrainingResources) throws {
        func make(_ name: String, outputs: Int) throws -> (Linear, ParameterStore) {
            let builder = ParameterBuilder()
            let layer = Linear([name], inputs: Self.width, outputs: [outputs], standardDeviation: 0.5, in: builder)
            let store = try ParameterStore(
                builder, type: .f32, allocator: resources.context.allocator, gradients: resources.makeGradients)
            return (layer, store)
        }
        let (generator, generated) = try make("generator", outputs: Self.width)
        let (discriminator, judged) = try make("discriminator", outputs: 1)
        self.generator = generator
        self.discriminator = discriminator
        var judge = Player("discriminator", judged, configuration)
        judge.isTrained = { $0 >= Self.firstStepOfDiscriminator }
        players = [Player("generator", generated, configuration), judge]
    }

    static func noise(step: Int, sequences: Range<Int>) -> [Float] { values(.noise, step, sequences) }
    static func real(step: Int, sequences: Range<Int>) -> [Float] { values(.packing, step, sequences).map { $0 + 1 } }

    private static func values(_ purpose: Philox.Purpose, _ step: Int, _ sequences: Range<Int>) -> [Float] {
        sequences.flatMap { sequence in
            var values = [Float](repeating: 0, count: width)
            values.withUnsafeMutableBufferPointer {
                Philox(seed: 1, purpose: purpose, step: step, index: sequence).fillNormal($0)
            }
            return values
        }
    }

    var makeBatch: @Sendable (BatchAddress) throws -> Batch {
        {
            Batch(
                noise: Self.noise(step: $0.step, sequences: $0.sequences),
                real: Self.real(step: $0.step, sequences: $0.sequences))
        }
    }

    func counts(step: Int) -> BatchCounts {
        let count = Self.sequences
        return BatchCounts(denominators: ["adversarial": count, "real": count, "fake": count], images: count)
    }

    func losses(_ batch: Batch, _ counts: BatchCounts, player: Int, _ context: Context) throws -> [NamedSum] {
        let made = try generator(tensor(batch.noise, Self.width, context), context)
        let count = made.rows
        if player == 0 {
            let errors = try errors(made, targets: [Float](repeating: 1, count: count), context)
            return [counts.part("adversarial", errors.reduce(0, +))]
        }
        // A copy, so that no gradient reaches the generator.
        let shown = tensor(made.f32 + batch.real, Self.width, context)
        let targets = [Float](repeating: 0, count: count) + [Float](repeating: 1, count: count)
        let errors = try errors(shown, targets: targets, context)
        return [
            counts.part("fake", errors[..<count].reduce(0, +)), counts.part("real", errors[count...].reduce(0, +)),
        ]
    }

    private func errors(_ x: Tensor, targets: [Float], _ context: Context) throws -> [Double] {
        context.squaredError(
            try discriminator(x, context), target: tensor(targets, 1, context), images: x.rows,
            scale: 1 / Float(Self.sequences))
    }

    private func tensor(_ values: [Float], _ width: Int, _ context: Context) -> Tensor {
        let tensor = context.empty([values.count / width, width], .f32)
        _ = tensor.f32.update(from: values)
        return tensor
    }

    func begin(from path: String?, options: CheckpointOptions) -> String? {
        for player in players { player.parameters.initialize(seed: 7) }
        return nil
    }
}
