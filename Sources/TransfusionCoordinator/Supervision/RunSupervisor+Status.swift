internal import Foundation
internal import TransfusionConfig
internal import TransfusionSupport
internal import TransfusionTelemetry

extension RunSupervisor {
    /// Everything that is known of the run now.
    public func status() -> RunStatus {
        let now = Date().timeIntervalSince1970, clock = MonotonicTime.seconds
        let steps = configuration.schedule.steps
        var status = RunStatus(
            run: state.run, directory: directory.path, state: phase, time: now,
            step: currentStep, steps: steps)
        status.started = state.started
        status.exit = state.exit
        if let record = state.launch {
            status.layout = RunStatus.Layout(
                ranks: record.ranks, data: record.data, tensor: record.tensor, hosts: hosts.statuses(used: record.hosts)
            )
        }
        if let record = metrics.latest {
            status.losses = RunStatus.Losses(record)
            status.tokensPerSecond = record.tokensPerSecond
            status.mfu = record.modelFLOPsUtilization
        }
        if let seconds = metrics.stepSeconds, !phase.isFinal {
            status.etaSeconds = seconds * Double(max(0, steps - status.step))
        }
        status.elapsedSeconds = state.wantedSeconds(until: .now)
        status.effectiveTrainingTimeRatio = effectiveTimeRatio(status.elapsedSeconds)
        status.obstacle = obstacleStatus
        status.lastCheckpoint = checkpoints.status
        status.restarts = state.restarts
        status.restartsLeft = state.budget.left(of: configuration.supervision.restarts)
        status.recoveries = state.recoveries
        if let detector {
            status.version = detector.heartbeats(at: clock).lazy.compactMap(\.heartbeat.version).first
            status.ranks = detector.heartbeats(at: clock).map { heartbeat, age in
                RunStatus.RankStatus(heartbeat, age: age, condition: detector.condition(of: heartbeat.rank, at: clock))
            }
        }
        status.warnings = warnings(at: clock)
        return status
    }

    /// Steps done, as the ranks say, or else as the newest record or checkpoint does.
    var currentStep: Int {
        if let detector, detector.hasStarted, let step = detector.step { return max(step, metrics.latest?.step ?? 0) }
        return max(metrics.latest?.step ?? 0, checkpoints.step ?? 0)
    }

    private func effectiveTimeRatio(_ elapsed: Double?) -> Double? {
        guard let elapsed, elapsed > 0, metrics.latest != nil else { return nil }
        return min(1, metrics.productiveSeconds / elapsed)
    }

    private func warnings(at clock: Double) -> [String] {
        var warnings = hostDifferences.map { "hosts differ: \($0)" }
        let bounds = configuration.supervision
        if let obstacle = obstacleStatus {
            warnings.append(
                "waiting for \(Int(obstacle.seconds)) s, as a launch is impossible now: \(obstacle.cause.summary); next try "
                    + "(\(obstacle.tries + 1)) in \(Int(obstacle.nextTry.rounded(.up))) s")
        }
        if let file = detector?.obstacle?.file {
            warnings.append(
                "the ranks keep the last step in memory, as it cannot be saved (\(file)); make room, and they go on by "
                    + "themselves; after checkpoint.wait_to_save the step is lost")
        }
        if let detector {
            // Ranks outlive a coordinator; the next one may be newer.
            if let version = detector.heartbeats(at: clock).first?.heartbeat.version, version != ProductVersion.full {
                warnings.append(
                    "the ranks are of transfusion \(version), this coordinator is of \(ProductVersion.full); 'tf-coord stop' and "
                        + "'tf-coord resume' bring them together")
            }
            warnings += detector.stragglers.map { rank, ratio in
                "rank \(rank) on \(host(of: rank) ?? "?") computes \(String(format: "%.1f", ratio)) times as long as the median; "
                    + "the others wait for it"
            }
            let quiet = detector.heartbeats(at: clock).map(\.heartbeat.rank)
                .filter { detector.condition(of: $0, at: clock) == .stale }
            if !quiet.isEmpty { warnings.append("\(Self.name(quiet)) has sent no heartbeat for some seconds") }
            warnings += SaveWarnings.failures(detector.heartbeats(at: clock).map(\.heartbeat))
        }
        if let spike = metrics.spike {
            warnings.append(
                "the loss of step \(spike.step) is \(String(format: "%.1f", spike.deviation)) standard deviations above "
                    + "those before it")
        }
        if checkpoints.status?.verified == false, let step = checkpoints.step {
            warnings.append(
                "the checkpoint of step \(step) does not verify; 'tf-ckpt verify \(directory.path)' says why")
        }
        if let free = Self.freeGigabytes(at: directory.path), free < bounds.freeDisk {
            warnings.append(
                "\(String(format: "%.2f", free)) GB are free at \(directory.path), less than supervision.free_disk; "
                    + "make room for checkpoints")
        }
        return warnings + SaveWarnings.scarceFiles(at: directory.path, ranks: state.launch?.ranks ?? 1)
    }

    static func freeGigabytes(at path: String) -> Double? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        return Double(status.f_bavail) * Double(status.f_frsize) / 1e9
    }
}
