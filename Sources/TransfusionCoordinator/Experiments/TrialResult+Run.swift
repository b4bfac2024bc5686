internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionTelemetry

extension TrialResult {
    /// What a run that is done tells of itself.
    /// - Throws: `CommandFailure` when it has no records; what reading its files throws.
    init(_ trial: ExperimentPlan.Trial, run: RunDirectory) throws {
        let records = try MetricsLog.read(run.metrics)
        guard let last = records.last else {
            throw CommandFailure("\(run.metrics): has no record of a step; remove \(run.path) to train it again")
        }
        configuration = trial.configuration.resolved
        var seconds = 0.0, before = 0
        for record in records {
            seconds += record.stepSeconds * Double(record.step - before)
            before = record.step
        }
        cost = TrialCost(steps: last.step, tokens: last.tokens, images: last.images, seconds: seconds)
        if trial.configuration.task == .transfusion, let model = try? ModelArchive(run.checkpoints).configuration {
            cost.parameters = TransfusionModel.parameterCount(model)
            cost.operations = Self.operations(trial.configuration, model, steps: last.step, images: last.images)
        }
        var points: [String: [(step: Int, value: Double)]] = [:]
        for record in records {
            for (name, value) in record.losses { points["loss_" + name, default: []].append((record.step, value)) }
            for (name, value) in record.validation?.losses ?? [:] {
                points["validation_loss_" + name, default: []].append((record.step, value))
            }
        }
        curves = points.mapValues(TrialCurve.init)
    }

    /// What forward and backward pass of all steps take, found by running the model's code with sizes only.
    private static func operations(
        _ configuration: RunConfiguration, _ model: ModelConfiguration, steps: Int, images: Int
    ) -> Double? {
        let batch = configuration.batch
        var layout = MemoryPlan.Layout(configuration, data: 1, hosts: 1, type: .f32)
        layout.tensor = 1
        layout.recomputation = .none
        var sizes = MicroBatchSizes(
            sequences: batch.microSequences, sequenceLength: batch.sequenceLength, images: 0, targets: 0)
        let microBatches = Double(steps * batch.globalSequences) / Double(batch.microSequences)
        sizes.images = model.images == .diffusion ? Double(images) / microBatches : 0
        sizes.targets = Double(sizes.rows) - sizes.images * Double(model.patchesPerImage)
        guard let pass = try? TransfusionModel.cost(model, layout, sizes) else { return nil }
        return pass.work.operations * microBatches
    }
}
