internal import Foundation
internal import TransfusionCheckpoint
public import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionInference
internal import TransfusionModels
public import TransfusionParallel
internal import TransfusionSupport
internal import TransfusionTelemetry

/// Trains a model: the steps of a run in the order in which they happen.
///
/// Every rank makes one and calls `run()`. What the ranks do differs only in which micro-batches they compute, in which
/// part of the state they update and save, and in that rank 0 speaks.
public final class TrainingLoop {
    /// How a call of `run()` ended.
    public enum Outcome: Sendable, Equatable {
        /// All steps that were asked for are done and saved.
        case finished
        /// A signal asked for a stop; everything is saved.
        case stoppedOnRequest
    }

    /// What the command line decides, rather than the configuration.
    public struct Options: Sendable {
        public enum Resume: Sendable, Equatable {
            /// From the newest checkpoint of the run that verifies; from the beginning if there is none.
            case automatic
            /// From the beginning; refused when the run has checkpoints.
            case never
            /// From this step directory of any run with the same model.
            case from(String)
        }

        public var resume = Resume.automatic
        /// Stop after this step, with a checkpoint; the schedule stays that of the configuration.
        public var lastStep: Int?

        public init() {}
    }

    let configuration: RunConfiguration
    let directory: RunDirectory
    let claim: RunClaim
    let group: any Communicator
    private let options: Options
    let setup: TrainingSetup
    let state: TrainingState
    private let schedule: LearningRateSchedule
    private let timer: PhaseTimer
    private let heartbeats: HeartbeatWriter
    let checkpoints: CheckpointKeeper
    private let batches: BatchPrefetcher
    let reporter: StepReporter
    private let noiseSchedule = NoiseSchedule()
    /// The step at which this process began to train.
    private var firstStep = 0

    /// - Parameters:
    ///   - group: All ranks.
    ///   - ranksOnHost: How many of them share this host's processors.
    ///   - watch: Tells the heartbeats which collective call is under way.
    ///   - log: Called on rank 0 with each line that a person should see.
    public convenience init(
        _ configuration: RunConfiguration, directory: RunDirectory, group: any Communicator, ranksOnHost: Int,
        watch: CollectiveWatch? = nil, options: Options = Options(), claim: RunClaim? = nil,
        log: @escaping (String) -> Void
    ) throws {
        let claim = claim ?? RunClaim(directory)
        let timer = PhaseTimer()
        let say = UncheckedLog(line: log)
        // The first sign of life comes before the long work of reading data and making the model.
        let heartbeats = HeartbeatWriter(directory: directory.heartbeats, rank: group.rank, timer: timer) {
            watch?.current.map { HeartbeatWriter.Collective(site: $0.site, group: $0.group, seconds: $0.seconds) }
        } mayWriteFiles: {
            claim.findLoss() == nil && claim.isHeld
        } onStopRequest: {
            StopSignal.request()
        } onFailure: { failure in
            say.line("warning: \(failure)")
        }
        do {
            try self.init(
                configuration, claim: claim, group: group, ranksOnHost: ranksOnHost, timer: timer,
                heartbeats: heartbeats, options: options, log: log)
        } catch {
            heartbeats.finish(CommandFailure(reporting: (error as? SharedFailure)?.failure ?? error))
            throw error
        }
    }

    private init(
        _ configuration: RunConfiguration, claim: RunClaim, group: any Communicator, ranksOnHost: Int,
        timer: PhaseTimer, heartbeats: HeartbeatWriter, options: Options, log: @escaping (String) -> Void
    ) throws {
        self.configuration = configuration
        self.claim = claim
        directory = claim.directory
        self.group = group
        self.options = options
        self.timer = timer
        self.heartbeats = heartbeats
        setup = try TrainingSetup(configuration, group: group, ranksOnHost: ranksOnHost)
        state = setup.state
        schedule = LearningRateSchedule(
            peak: configuration.schedule.learningRate, minimum: configuration.schedule.minimumLearningRate,
            warmupSteps: configuration.schedule.warmupSteps, steps: configuration.schedule.steps)
        batches = BatchPrefetcher(setup.source, seed: UInt64(configuration.seed))
        let reporter = StepReporter(configuration, directory: directory, rank: group.rank, timer: timer, print: log)
        self.reporter = reporter
        checkpoints = CheckpointKeeper(
            configuration.checkpoint, directory: directory, group: group, log: reporter.log,
            onWait: heartbeats.waits
        ) { event in
            switch event {
            case .saved(let report):
                reporter.reportCheckpoint(seconds: report.writeSeconds)
                heartbeats.saveSucceeded()
            case .failed(let step, let error): heartbeats.saveFailed(step: step, reason: error.description)
            case .skipped: break
            }
        }
        try checkpoints.check(options.resume, setup)
        try enterDirectory(tokenizer: setup.source.dataset.tokenizer.model)
        setup.report.forEach(reporter.log)
    }

    /// Reads a configuration and trains what it describes; every rank calls it.
    ///
    /// - Parameters:
    ///   - hostName: This rank's host; ranks of one host share its processors.
    ///   - transport: How the ranks reach each other, for the report.
    ///   - watch: Tells the heartbeats which collective call is under way.
    ///   - log: Called on rank 0 with each line that a person should see.
    /// - Throws: `SharedFailure` for what all ranks know; anything else happened on this rank alone.
    public static func train(
        configurationFile: String, overrides: [String], directory: RunDirectory, group: any Communicator,
        hostName: String, transport: String, watch: CollectiveWatch? = nil, options: Options,
        log: @escaping (String) -> Void
    ) throws -> Outcome {
        var configuration: RunConfiguration?
        try group.agree("reading the configuration") {
            configuration = try RunConfiguration.load(configurationFile, overrides: overrides)
        }
        guard let configuration else { preconditionFailure("all ranks agreed on a configuration that is not there") }
        let claim = RunClaim(directory)
        try refuseSecondJob(claim, group)
        let hosts = try group.allGather(Array(hostName.utf8), site: "host names")
        let loop = try TrainingLoop(
            configuration, directory: directory, group: group,
            ranksOnHost: hosts.filter { $0 == Array(hostName.utf8) }.count, watch: watch, options: options,
            claim: claim,
            log: log)
        loop.reporter.log("ranks: \(group.size) on \(Set(hosts).count) hosts, by \(transport)")
        return try loop.run()
    }

    private var lastStep: Int { min(options.lastStep ?? .max, configuration.schedule.steps) }

    public func run() throws -> Outcome {
        do {
            let outcome = try trainToTheEnd()
            reporter.reportMemory(planned: setup.memory)
            heartbeats.finish()
            claim.release()
            return outcome
        } catch {
            reporter.reportMemory(planned: setup.memory)
            heartbeats.finish(CommandFailure(reporting: (error as? SharedFailure)?.failure ?? error))
            claim.release()
            throw error
        }
    }

    private func trainToTheEnd() throws -> Outcome {
        try resume()
        firstStep = state.step
        if state.step >= lastStep {
            let bound = lastStep < configuration.schedule.steps ? "--steps" : "schedule.steps"
            reporter.log("nothing to do: \(state.step) steps are done, and \(bound) is \(lastStep)")
        }
        while state.step < lastStep {
            let step = try trainOneStep()
            let isInPlace = group.rank != 0 || claim.isInPlace
            try reporter.report(
                step, state, patchesPerImage: setup.modelConfiguration.patchesPerImage, setup.utilization,
                keeping: isInPlace)
            try timer.measure(.sampling) { try drawSamplesIfDue(keeping: isInPlace) }
            let isAskedToStop = try group.any(
                StopSignal.isRequested || !isInPlace || !claim.isHeld, site: "stop request")
            let isLast = state.step == lastStep || isAskedToStop
            if try checkpoints.isDue(after: state.step) || isLast {
                try leaveLostDirectory()
                try timer.measure(.checkpoint) { try checkpoints.save(state, setup, isLast: isLast) }
            }
            try checkpoints.poll()
            if isAskedToStop && state.step < lastStep { return .stoppedOnRequest }
        }
        return .finished
    }

    /// One step of all ranks, from its batch to the update of the weights.
    func trainOneStep() throws -> StepSummary {
        timer.begin(step: state.step)
        // The coordinator times how long a restart takes.
        if state.step <= firstStep + 1 { heartbeats.beat() }
        let counts = try setup.source.counts(step: state.step)
        if counts.leftOut > 0 {
            reporter.log(
                "warning: \(counts.leftOut) pairs found no room in the \(setup.source.shares.stepsOfBlock) steps from step "
                    + "\(state.step + 1) on and are left out of this epoch")
        }
        let local = try accumulateGradients(counts) { slot, count in
            try state.optimizer.backward(setup.context, slot: slot, of: count)
        }
        try timer.measure(.wait) { try group.barrier(site: "end of backward") }
        let norm = try timer.measure(.communication) { try state.optimizer.reduceGradients() }
        let step = try total(local, norm)
        try stopEverywhereUnlessFinite(step, counts)
        try timer.measure(.communication) {
            try state.optimizer.update(
                step: state.step, learningRate: step.learningRate, norm: norm,
                clipNorm: configuration.optimizer.clipNorm)
        }
        state.step += 1
        state.tokens += counts.tokens
        state.images += counts.images
        state.logged.add(step)
        return step
    }

    /// Continues from a checkpoint, or begins with initial weights.
    private func resume() throws {
        let checkpoint = try checkpoints.find(options.resume)
        var lastRecord = 0
        if let checkpoint {
            try checkpoints.load(checkpoint, into: state, setup)
            reporter.log("resuming from step \(state.step) (\(checkpoint.path))")
            // Where there is nothing to do, nothing is changed.
            guard state.step < lastStep else { return }
            lastRecord = try checkpoints.leaveOtherBranches(of: checkpoint)
        } else if let report = try checkpoints.begin(state, setup) {
            reporter.log(report)
        }
        try checkpoints.prepare(for: state)
        try reporter.begin(after: lastRecord, tokens: state.tokens, images: state.images)
    }

    /// The micro-batches of a step that this rank computes: its share of the slots of the global batch, in order.
    private func slots(of step: Int) -> [BatchPrefetcher.Address] {
        let micro = configuration.batch.microSequences
        let slots = configuration.batch.globalSequences / micro
        let data = setup.mesh.data
        let mine = slots * data.rank / data.size..<slots * (data.rank + 1) / data.size
        return mine.map { BatchPrefetcher.Address(step: step, sequences: $0 * micro..<($0 + 1) * micro) }
    }

    /// Forward and backward of this rank's micro-batches. Losses are divided by the counts of the whole global batch.
    ///
    /// - Parameter backward: The backward pass of the n-th of this rank's micro-batches.
    private func accumulateGradients(
        _ counts: BatchSource.Counts, backward: (_ slot: Int, _ count: Int) throws -> Void
    ) throws -> LocalStep {
        let weights = TransfusionModel.LossWeights(
            targets: counts.targets, images: counts.images, imageLossWeight: configuration.objective.imageLossWeight)
        let addresses = slots(of: state.step)
        let workBefore = setup.context.work
        var local = LocalStep()
        var text: [Double] = [], image: [Double] = []
        for (index, address) in addresses.enumerated() {
            let next = index + 1 < addresses.count ? addresses[index + 1] : slots(of: state.step + 1).first
            let batch = try timer.measure(.data) { try batches.take(address, next: next) }
            let losses = try recordLosses(batch, weights)
            text.append(losses.text)
            image.append(losses.image)
            try backward(index, addresses.count)
        }
        local.operations = setup.context.work.operations - workBefore.operations
        local.losses = [
            NamedSum(name: "text", sum: ReductionOrder.treeSum(text), count: counts.targets, weight: 1),
            NamedSum(
                name: "image", sum: ReductionOrder.treeSum(image), count: counts.images,
                weight: configuration.objective.imageLossWeight),
        ]
        return local
    }

    private func recordLosses(
        _ batch: PreparedBatch, _ weights: TransfusionModel.LossWeights
    ) throws -> TransfusionModel.Losses {
        let context = setup.context
        let images =
            batch.timesteps.isEmpty
            ? nil
            : NoisedImages(
                latents: batch.latents, noise: batch.noise, timesteps: batch.timesteps, schedule: noiseSchedule,
                configuration: setup.modelConfiguration, context)
        return try context.record {
            try state.model.losses(batch.layout, images: images, weights: weights, context)
        }
    }

    /// Sums what the data-parallel ranks have found, and makes the losses of the global batch of it.
    private func total(_ local: LocalStep, _ norm: Double) throws -> StepSummary {
        let sums = try setup.mesh.data.sum(local.losses.map(\.sum) + [local.operations], site: "losses")
        var losses = local.losses
        for index in losses.indices { losses[index].sum = sums[index] }
        return StepSummary(
            step: state.step, losses: losses, gradientNorm: norm, learningRate: schedule.learningRate(state.step),
            operations: sums[losses.count])
    }

    /// Ends the run on all ranks when a loss or gradient is not finite, before anything is updated.
    ///
    /// The numbers at hand are sums over the ranks, the same on each, so all decide alike. Who brought the bad one is
    /// found by computing the step again without adding up.
    private func stopEverywhereUnlessFinite(_ step: StepSummary, _ counts: BatchSource.Counts) throws {
        guard !step.losses.loss.isFinite || !step.gradientNorm.isFinite else { return }
        state.model.parameters.gradients?.fill(0)
        let again = try accumulateGradients(counts) { _, _ in try setup.context.backward() }
        var finding = ""
        if let parameter = state.model.parameters.firstNonFiniteGradient() {
            finding = "rank \(group.rank): the gradient of \(parameter.name)"
        } else if !again.losses.allSatisfy(\.sum.isFinite) {
            finding = "rank \(group.rank): the loss"
        }
        let all = try group.allGather(Array(finding.utf8), site: "non-finite numbers")
        let findings = all.filter { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self) }
        try group.agree("non-finite numbers") {
            throw NonFiniteError(
                step: state.step + 1, findings: findings.isEmpty ? ["the sum of the gradients"] : findings,
                rank: all.firstIndex { !$0.isEmpty })
        }
    }

    /// Draws the fixed prompts when the configuration wants them after this step.
    ///
    /// A model is whole on the tensor-parallel ranks of one data-parallel rank: those draw, and the others wait at the
    /// next collective. A picture that cannot be written costs no training.
    private func drawSamplesIfDue(keeping keeps: Bool) throws {
        guard let every = configuration.samples.everySteps, state.step % every == 0 || state.step == lastStep,
            setup.mesh.data.rank == 0
        else { return }
        do {
            let pictures = try setup.samples.draw(
                state.model, setup.context, contextLength: configuration.batch.sequenceLength, step: state.step,
                into: group.rank == 0 && keeps ? directory : nil)
            for (number, picture) in pictures.enumerated() {
                try reporter.reportSample(
                    number, png: picture.png, width: picture.width, height: picture.height, step: state.step)
            }
        } catch {
            reporter.log("warning: the samples of step \(state.step) could not be kept: \(error); training goes on")
        }
    }
}

/// Hands the log to the heartbeat thread.
///
/// `@unchecked Sendable`: the log is a print to standard output, which may be called from any thread.
private struct UncheckedLog: @unchecked Sendable {
    let line: (String) -> Void
}

/// What this rank's micro-batches of a step amounted to.
struct LocalStep {
    var losses: [NamedSum] = []
    /// Floating-point operations of the model.
    var operations = 0.0
}

/// A step of all ranks, before its update.
struct StepSummary: Sendable {
    /// From 0.
    let step: Int
    /// Of the whole global batch.
    let losses: [NamedSum]
    let gradientNorm: Double
    let learningRate: Double
    /// Floating-point operations of the model, over all ranks.
    let operations: Double
}
