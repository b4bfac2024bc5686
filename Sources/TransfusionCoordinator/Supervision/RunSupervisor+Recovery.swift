internal import Foundation
internal import TransfusionConfig
internal import TransfusionSupport
internal import TransfusionTelemetry

extension RunSupervisor {
    /// What a suspicion amounts to, after a look at what cannot be seen in heartbeats.
    func investigate(
        _ finding: FailureDetector.Finding, _ launch: MPILaunch, memoryKills: Int
    ) async -> LaunchEnd {
        let now = MonotonicTime.seconds
        detected = now
        switch finding {
        case .processGone(let rank):
            baseline = lastSeen[rank] ?? now
            // mpirun knows how the rank ended, ends the others, and says so. Should it not, it says more when they are
            // gone; before that, it would take one of them for the first.
            await waitForEnd(of: launch)
            if launch.end == nil {
                endRanks(besides: launch)
                await waitForEnd(of: launch)
            }
            if let end = launch.end {
                let judged = judge(end, memoryKills: memoryKills, suspect: rank)
                // Of several that were gone at one look, mpirun knows which was the first.
                if case .stopped = judged { return judged }
                if case .failed(let cause) = judged,
                    cause.prospect != .again || cause.rank.map({ detector?.hasEnded(rank: $0) == true }) ?? false
                {
                    return judged
                }
            }
            return .failed(
                FailureCause(.exit, rank: rank, host: host(of: rank), summary: "the process of rank \(rank) has ended"))
        case .silent(let ranks, let seconds):
            baseline = now - seconds
            return .failed(await silence(ranks, seconds))
        case .notStarted(let ranks, let seconds):
            baseline = now
            let details = await stacks()
            return .failed(
                FailureCause(
                    .hang, rank: ranks.count == 1 ? ranks[0] : nil,
                    summary:
                        "\(Self.name(ranks)) did not begin to train within \(Int(seconds)) s; see the log of the launch, "
                        + "or raise supervision.start_timeout", details: details))
        case .notLeaving(let seconds):
            baseline = now - seconds
            return .failed(
                FailureCause(
                    .hang, summary: "all ranks are done, but mpirun had not ended \(Int(seconds)) s later",
                    details: await stacks()))
        case .stuck(let suspects, let waiting, let seconds):
            baseline = now - seconds
            let place =
                waiting.map { "\(Self.wait(in: $0)) for \(Int($0.seconds)) s" } ?? ""
            let blame = suspects.isEmpty ? "no rank moves on" : "\(Self.name(suspects)) does not come"
            return .failed(
                FailureCause(
                    .hang, rank: suspects.count == 1 ? suspects[0] : nil,
                    host: suspects.count == 1 ? host(of: suspects[0]) : nil,
                    summary: "hang: no step for \(Int(seconds)) s, \(blame)\(place)", details: await stacks()))
        }
    }

    /// Ranks that send nothing: their process is stopped or blocked, or their host is gone.
    private func silence(_ ranks: [Int], _ seconds: Double) async -> FailureCause {
        let heartbeats = detector?.heartbeats(at: MonotonicTime.seconds).map(\.heartbeat) ?? []
        let waiting = detector?.waiting(besides: ranks)
        let place = waiting.map { Self.wait(in: $0) } ?? ""
        let hosts = Set(ranks.compactMap { host(of: $0) })
        let first = heartbeats.first { ranks.contains($0.rank) && state.launch?.host(of: $0.rank)?.isLocal == true }
        let isStopped = first.map { ["T", "t"].contains(ProcessTable.state(of: $0.pid)) } ?? false
        return FailureCause(
            .hang, rank: ranks.count == 1 ? ranks[0] : nil, host: hosts.count == 1 ? hosts.first : nil,
            signal: isStopped ? "SIGSTOP" : nil,
            summary: "hang: \(Self.name(ranks)) sent nothing for \(Int(seconds)) s"
                + (isStopped ? " and is stopped by a signal" : "") + place,
            details: await stacks())
    }

    private static func wait(in waiting: FailureDetector.Waiting) -> String {
        "; \(name(waiting.ranks)) \(waiting.ranks.count == 1 ? "waits" : "wait") in '\(waiting.collective)'"
    }

    func stacks() async -> [String] {
        let processes = detector?.heartbeats(at: MonotonicTime.seconds).compactMap { heartbeat, _ in
            state.launch?.host(of: heartbeat.rank).map {
                StackReport.Process(rank: heartbeat.rank, pid: heartbeat.pid, host: $0)
            }
        }
        return await StackReport.of(processes ?? [], shell: hosts.shell, within: 10)
    }

    /// Ends what is left, notes what happened, and decides whether there is another launch.
    /// - Returns: Seconds to wait before it; nil when there is none.
    /// - Throws: `CommandFailure` when processes of this launch do not end.
    func recover(_ cause: FailureCause) async throws(CommandFailure) -> Double? {
        notice()
        let cause = await blame(cause)
        let record = state.launch
        let time = try await end(cause)
        if let host = cause.host { hosts.failed(host) }
        leaveNewcomers(of: record, cause)
        let bounds = configuration.supervision
        var wait = state.budget.failed(checkpoint: checkpoints.step, limit: bounds.restarts, backoff: bounds.backoff)
        if let record = cause.record, record.kind == .nonFinite, let step = record.step,
            !state.budget.failedOnNumbers(step: step)
        {
            wait = nil
        }
        if wait != nil {
            state.restarts.append(
                RunStatus.Restart(time: time, launch: record?.number ?? 0, step: furthestStep, cause: cause))
        }
        trimHistory()
        save()
        return wait
    }

    /// Notes why a launch ended, and ends what is left of it.
    /// - Returns: When that was found, in seconds since 1970.
    @discardableResult
    func end(_ cause: FailureCause) async throws(CommandFailure) -> Double {
        let lastBaseline = baseline
        notice()
        let found = detected ?? MonotonicTime.seconds
        detected = nil
        let number = state.launch?.number ?? 0
        if state.launch != nil { log("launch \(number) failed: \(cause.summary)") }
        let time = Date().timeIntervalSince1970 - (MonotonicTime.seconds - found)
        // A launch that never was has cost nothing but the wait: the timeline of the failure before it goes on.
        let isNew = cause.prospect == .again || detector?.hasHeardRanks == true
        if !isNew { baseline = lastBaseline }
        if isNew {
            state.recoveries.append(
                RunStatus.Recovery(time: time, launch: number, cause: cause, detected: max(0, found - baseline)))
        }
        save()
        try await killAll()
        if isNew { updateRecovery { $0.killed = $1 } }
        detector = nil
        refresh(force: true)
        return time
    }

    /// The moment that a failure is found, unless it is known already.
    private func notice() {
        phase = .recovering
        guard detected == nil else { return }
        let now = MonotonicTime.seconds
        baseline = min(now, lastSeenLauncher > 0 ? lastSeenLauncher : now)
        detected = now
    }

    private func trimHistory() {
        state.restarts = state.restarts.suffix(SupervisorState.historyLimit)
        state.recoveries = state.recoveries.suffix(SupervisorState.historyLimit)
    }

    /// Notes when a stage of the last recovery was reached, in seconds since the last sign that all was well.
    func updateRecovery(_ change: (inout RunStatus.Recovery, Double) -> Void) {
        guard let last = state.recoveries.indices.last, state.recoveries[last].firstStep == nil, baseline > 0 else {
            return
        }
        let old = state.recoveries[last]
        change(&state.recoveries[last], MonotonicTime.seconds - baseline)
        if state.recoveries[last] != old { save() }
    }

    // MARK: Ending processes

    private func waitForEnd(of launch: MPILaunch) async {
        let deadline = MonotonicTime.seconds + Self.launcherTime
        while launch.end == nil, MonotonicTime.seconds < deadline { try? await Task.sleep(for: .milliseconds(20)) }
    }

    /// For mpirun to notice that a rank has ended, in seconds.
    private static let launcherTime = 5.0

    /// Ends the ranks of this host but not mpirun, which then says how the first of them ended.
    private func endRanks(besides launch: MPILaunch) {
        let processes = ProcessTable.survey(ofRun: state.identity).processes
        ProcessTable.signal(processes.filter { $0 != launch.pid }, SIGKILL)
    }
}
