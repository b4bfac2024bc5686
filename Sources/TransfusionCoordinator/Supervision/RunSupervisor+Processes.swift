internal import Foundation
internal import TransfusionConfig
internal import TransfusionTelemetry

/// What is left of launches, as far as it can be seen.
extension RunSupervisor {
    /// The processes of all launches of the run on this host. Waits until they can be looked at: to take them for gone
    /// would launch the run beside itself.
    func processesLeft() async -> [Int32] {
        var waits = 0
        while true {
            let survey = ProcessTable.survey(ofRun: state.identity)
            guard let obstacle = survey.obstacle, !isEndingAtOnce else { return survey.processes }
            if waits == 0 { log("warning: \(obstacle); waiting until the processes of the run can be seen") }
            waits += 1
            try? await Task.sleep(for: .seconds(min(5, 0.1 * Double(waits))))
        }
    }

    /// Notices ranks of this host whose process has gone, long before their heartbeats are missed. Of many ranks it looks at
    /// some each time, at all of them in turn.
    func lookAtProcesses(_ now: Double) {
        guard let detector, let record = state.launch else { return }
        // On a large cluster most are elsewhere, and each of the few here has its turn as often as it should.
        let local = record.localRanks
        let processes = detector.processes.filter { process in local.contains { $0.contains(process.rank) } }
        let groups = (processes.count + Self.looks - 1) / Self.looks
        turn = groups > 0 ? (turn + 1) % groups : 0
        for (place, (rank, pid, time)) in processes.enumerated() where place % max(1, groups) == turn {
            switch ProcessTable.look(at: pid) {
            case .alive:
                lastSeen[rank] = now
                if now - time > configuration.supervision.heartbeatTimeout / 2,
                    let heartbeat = detector.heartbeat(of: rank)
                {
                    readHeartbeat(after: heartbeat, now)
                }
            case .gone: self.detector?.processEnded(rank: rank, at: now)
            case .unknown: break
            }
        }
    }

    private static let looks = 64

    /// Takes the heartbeat of a rank of this host from its file, if that is newer than what came over its connection: what
    /// cannot be heard need not be silent.
    private func readHeartbeat(after last: Heartbeat, _ now: Double) {
        guard let written = try? Heartbeat.read(Heartbeat.file(rank: last.rank, in: directory.heartbeats)),
            written.pid == last.pid, let then = last.mark, let mark = written.mark, then.seconds(until: mark) > 0
        else { return }
        detector?.receive(written, at: now)
    }

    /// Ends every process of the launch on every host, and proves that none is left.
    /// - Throws: `CommandFailure` when some are left after supervision.kill_timeout, or could not be looked for within
    ///   supervision.start_timeout: beside them nothing may be launched.
    func killAll() async throws(CommandFailure) {
        guard let record = state.launch else { return }
        let bounds = configuration.supervision, begin = MonotonicTime.seconds
        var isTold = false
        while true {
            let survey = ProcessTable.survey(ofRun: state.identity)
            ProcessTable.signal(survey.processes, SIGKILL)
            // What cannot be asked would count as a host that does not answer.
            let obstacle = survey.obstacle ?? Descriptors.shortage()
            var remote: [String: Int] = [:]
            if obstacle == nil { remote = await hosts.killAll(run: state.identity, on: record.hosts.map(\.name)) }
            if survey.provesNone, obstacle == nil, remote.isEmpty { break }
            let isBlind = survey.processes.isEmpty && remote.isEmpty
            guard MonotonicTime.seconds - begin < (isBlind ? bounds.startTimeout : bounds.killTimeout) else {
                throw Self.left(survey.processes, remote, obstacle, launch: record.number)
            }
            if isBlind, !isTold, let obstacle {
                isTold = true
                log("warning: \(obstacle); waiting until it is certain that nothing of launch \(record.number) is left")
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
        state.launch = nil
    }

    private static func left(
        _ processes: [Int32], _ remote: [String: Int], _ obstacle: String?, launch: Int
    ) -> CommandFailure {
        let names =
            processes.map { "\($0) (state \(ProcessTable.state(of: $0).map(String.init) ?? "?"))" }
            + remote.sorted { $0.key < $1.key }.map { "\($0.value) on \($0.key)" }
        guard !names.isEmpty || obstacle == nil else {
            return CommandFailure(
                "launch \(launch): whether processes of it are left could not be seen within supervision.start_timeout: "
                    + "\(obstacle ?? ""); 'tf-coord resume' looks again")
        }
        return CommandFailure(
            "launch \(launch): processes were not ended by SIGKILL within supervision.kill_timeout: "
                + "\(names.joined(separator: ", ")); mostly they wait for a file system, state D; "
                + "'tf-coord resume' goes on when they have ended")
    }
}
