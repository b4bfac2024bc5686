internal import Foundation
internal import TransfusionConfig
internal import TransfusionSupport
internal import TransfusionTelemetry

/// How a launch begins, or is taken over.
extension RunSupervisor {
    /// - Returns: nil when the run shall stop before there are hosts for it.
    func start() async throws(CommandFailure) -> MPILaunch? {
        guard let layout = try await chooseLayout() else { return nil }
        state.launches += 1
        let record = LaunchRecord(
            id: "\(state.identity).\(state.launches)", number: state.launches, pid: 0, hosts: layout.ranksOnHosts,
            data: layout.data,
            tensor: layout.tensor)
        state.launch = record
        save()
        Heartbeat.removeStale(in: directory.heartbeats, ranks: 0)
        metrics.restart()
        var overrides: [String] = []
        if let wanted = configuration.parallel.data, wanted != layout.data {
            overrides = ["--set", "parallel.data=\(layout.data)"]
        }
        let command = MPICommandLine(
            record, request: request, files: files, hosts: hosts, extra: overrides)
        let places = layout.ranksOnHosts.map { "\($0.slots) on \($0.name)" }.joined(separator: ", ")
        log("launch \(record.number): \(layout.ranks) ranks (data \(layout.data) × tensor \(layout.tensor)): \(places)")
        beginWatching(record, as: .starting)
        let launch: MPILaunch
        do {
            if let hosts = command.hostFile { try AtomicFile.write(hosts.utf8, to: files.hosts, durable: false) }
            launch = MPILaunch(
                arguments: command.arguments, environment: command.environment, directory: request.workingDirectory,
                log: files.log(ofLaunch: record.number))
        } catch {
            launch = MPILaunch(impossible: LaunchObstacle(error))
        }
        // Until there is a process there is nothing that the next coordinator could find.
        while launch.pid == nil, launch.end == nil { try? await Task.sleep(for: .milliseconds(5)) }
        state.launch?.pid = launch.pid ?? 0
        save()
        updateRecovery { $0.relaunched = $1 }
        return launch
    }

    /// For how long no coordinator has watched the run, in seconds, as the last status that one wrote shows.
    private var unwatchedSeconds: Double {
        let last = files.read(RunStatus.self, from: files.status)?.elapsedSeconds
        return max(0, (state.wantedSeconds(until: .now) ?? 0) - (last ?? 0))
    }

    /// Finds the processes that an earlier coordinator left: continues with them if mpirun lives, else ends them.
    func adoptLaunch() async throws(CommandFailure) -> MPILaunch? {
        guard let record = state.launch else { return nil }
        let processes = await processesLeft()
        guard record.pid > 0, processes.contains(record.pid) else {
            log("the coordinator was ended in launch \(record.number), of which no mpirun is left")
            let cause = FailureCause(
                .coordinator, summary: "the coordinator was ended in launch \(record.number), and mpirun as well")
            _ = try await recover(cause)
            return nil
        }
        log("taking over launch \(record.number), which went on when the coordinator was ended")
        // What it does without may be left out for a reason that is forgotten.
        hosts.leave(Set(hosts.remoteNames).subtracting(record.hosts.map(\.name)))
        let unwatchedSeconds = unwatchedSeconds
        beginWatching(record, as: .running)
        for heartbeat in Heartbeat.readAll(in: directory.heartbeats) {
            detector?.receive(heartbeat, at: MonotonicTime.seconds)
        }
        // Nothing was lost but the watch over the run.
        var recovery = RunStatus.Recovery(
            time: Date().timeIntervalSince1970, launch: record.number,
            cause: FailureCause(
                .coordinator, summary: "the coordinator was ended; launch \(record.number) went on and was taken over"),
            detected: unwatchedSeconds)
        recovery.loaded = recovery.detected
        recovery.firstStep = recovery.detected
        recovery.lostSteps = 0
        state.recoveries.append(recovery)
        save()
        return MPILaunch(adopting: record.pid)
    }

    private func beginWatching(_ record: LaunchRecord, as phase: RunStatus.State) {
        self.phase = phase
        detector = FailureDetector(ranks: record.ranks, bounds: configuration.supervision, at: MonotonicTime.seconds)
        lastSeen = [:]
        resumedStep = nil
        stopDeadline = nil
        isGrowing = false
        refresh(force: true)
    }
}
