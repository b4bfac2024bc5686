internal import Foundation
internal import TransfusionConfig
internal import TransfusionSupport
internal import TransfusionTelemetry

extension RunSupervisor {
    /// What the end of mpirun means.
    /// - Parameters:
    ///   - memoryKills: What the kernel had ended for want of memory when the launch began.
    ///   - suspect: The rank whose process was seen to go first, if one was.
    func judge(_ end: MPILaunch.End, memoryKills: Int, suspect: Int? = nil) -> LaunchEnd {
        refresh(force: true)
        if isEndingAtOnce, end != .exited(0) {
            return end == .exited(CommandFailure.Code.checkpointedAndStopped.rawValue) ? .stopped : .endedAtOnce
        }
        let text = LaunchLog(path: files.log(ofLaunch: state.launch?.number ?? 0))
        switch end {
        case .impossible(let obstacle): return .failed(obstacle.cause)
        case .exited(0): return .finished
        case .exited(CommandFailure.Code.checkpointedAndStopped.rawValue): return .stopped
        // A rank that ends by a signal before it says anything gives mpirun its exit code, as in shells.
        case .exited(let code) where hasNotHeard(of: nil) && StopSignals.all.contains(code - 128): return .stopped
        case .signaled(let number) where hasNotHeard(of: nil) && StopSignals.all.contains(number): return .stopped
        case .signaled(let number):
            let name = SignalName.of(number)
            return .failed(FailureCause(.launcher, signal: name, summary: "mpirun was ended by \(name)"))
        case .exited where text.saysStopped, .unobserved where text.saysStopped: return .stopped
        case .exited where text.firstEnd == nil && text.errors.isEmpty && haveLeftInGoodOrder:
            // mpirun may see the end of a process before it hears that it has left MPI, and call that a failure.
            return checkpoints.step == configuration.schedule.steps ? .finished : .stopped
        case .unobserved where text.firstEnd == nil && text.errors.isEmpty:
            // The ranks said that they were leaving; the steps that are saved say why.
            if checkpoints.step == configuration.schedule.steps { return .finished }
            if detector?.hasFinished == true { return .stopped }
            return .failed(FailureCause(.launcher, summary: "mpirun ended while there was no coordinator"))
        case .exited, .unobserved: return judge(text, end, memoryKills: memoryKills, suspect: suspect)
        }
    }

    private func judge(_ text: LaunchLog, _ end: MPILaunch.End, memoryKills: Int, suspect: Int?) -> LaunchEnd {
        if let cause = reported { return .failed(cause) }
        let code: Int32? = if case .exited(let code) = end { code } else { nil }
        if code == CommandFailure.Code.wrongUse.rawValue, !text.errors.isEmpty {
            // Wrong use is found before there are heartbeats, too.
            return .failed(
                FailureCause(
                    .exit, exitCode: code, summary: text.errors.joined(separator: "; "),
                    record: FailureRecord(.wrongUse)))
        }
        guard let first = text.firstEnd else { return judgeWithoutFirstEnd(text, code, suspect: suspect) }
        let host = host(of: first.rank)
        if let number = first.signal {
            if hasNotHeard(of: first.rank), StopSignals.all.contains(number) { return .stopped }
            let name = SignalName.of(number)
            if number == SIGKILL, ProcessTable.outOfMemoryKills > memoryKills {
                return .failed(
                    FailureCause(
                        .outOfMemory, rank: first.rank, host: host, signal: name,
                        summary:
                            "the kernel ended rank \(first.rank) because memory ran out; lower batch.micro_sequences, "
                            + "or use parallel.recompute or more hosts"))
            }
            if let refusal = text.refusedMemory ?? limitReached(by: first.rank) {
                return .failed(Self.withoutMemory(first.rank, host, signal: name, refusal: refusal))
            }
            return .failed(
                FailureCause(
                    .signal, rank: first.rank, host: host, signal: name,
                    summary: "rank \(first.rank) was ended by \(name)"))
        }
        let reason = text.errors.first { Self.rank(in: $0) == first.rank } ?? text.errors.first
        if let refusal = text.refusedMemory ?? limitReached(by: first.rank) {
            // A failure that all ranks hear of ends all, in no order.
            let rank = Self.rank(in: refusal) ?? first.rank
            return .failed(
                Self.withoutMemory(rank, self.host(of: rank), exitCode: first.exitCode, refusal: refusal))
        }
        let ending = "rank \(first.rank) ended with exit code \(first.exitCode ?? 1)"
        return .failed(
            FailureCause(
                .exit, rank: first.rank, host: host, exitCode: first.exitCode,
                summary: reason.map { "\(ending): \($0)" } ?? ending))
    }

    /// When mpirun names no rank that ended first.
    private func judgeWithoutFirstEnd(_ text: LaunchLog, _ code: Int32?, suspect: Int?) -> LaunchEnd {
        if text.lostHost {
            return .failed(
                FailureCause(
                    .launcher, exitCode: code, summary: "mpirun has lost a host; see the log of the launch"))
        }
        if let problem = text.launchProblem {
            return .failed(
                FailureCause(.launch, exitCode: 1, summary: problem, record: FailureRecord(.wrongUse)))
        }
        if detector?.hasHeardRanks != true, text.errors.isEmpty, let message = text.launcherMessage {
            return .failed(
                FailureCause(.launch, exitCode: code, summary: "mpirun could not start the ranks: \(message)"))
        }
        if let error = text.errors.first {
            return .failed(FailureCause(.exit, rank: suspect, exitCode: code, summary: error))
        }
        return .failed(
            FailureCause(
                .exit, rank: suspect, exitCode: code,
                summary: suspect.map { "the process of rank \($0) has ended" }
                    ?? "mpirun ended with exit code \(code.map(String.init) ?? "?"); see the log of the launch"))
    }

    /// Whether all ranks have said that they are finished, and none that it has failed.
    private var haveLeftInGoodOrder: Bool { detector?.hasFinished == true && detector?.failure == nil }

    /// Whether a rank, or any, has not come so far in this launch that it takes signals. Somebody who sends one then wants the
    /// run to end; there is nothing to save.
    private func hasNotHeard(of rank: Int?) -> Bool {
        guard let detector else { return true }
        return rank.map { detector.heartbeat(of: $0) == nil } ?? !detector.hasHeardRanks
    }

    /// What the ranks themselves say, where that is more than words.
    private var reported: FailureCause? {
        guard let failure = detector?.failure, let record = failure.record else { return nil }
        let kind: FailureCause.Kind
        switch record.kind {
        case .wrongUse: kind = .exit
        case .noRoom: kind = .noRoom
        case .inputOutput: kind = .unavailable
        case .nonFinite: kind = .nonFinite
        // The limits of a rank's own process are no obstacle that passes.
        case .noResources, .other: return nil
        }
        return FailureCause(
            kind, rank: record.rank, host: record.rank.flatMap { host(of: $0) }, exitCode: failure.code.rawValue,
            summary: failure.lines.joined(separator: "; "), record: record)
    }

    private static func withoutMemory(
        _ rank: Int, _ host: String?, exitCode: Int32? = nil, signal: String? = nil, refusal: String
    ) -> FailureCause {
        FailureCause(
            .allocationFailure, rank: rank, host: host, signal: signal, exitCode: exitCode,
            summary: "rank \(rank) got no memory (\(refusal))")
    }

    /// What the last heartbeat of a rank says of its limits, when they left no room: not every library says why it fails.
    private func limitReached(by rank: Int) -> String? {
        let heartbeat = detector?.heartbeats(at: MonotonicTime.seconds).first { $0.heartbeat.rank == rank }?.heartbeat
        guard let room = heartbeat?.memoryRoomBytes, room < Self.noRoom else { return nil }
        return "the limits of its process, ulimit -v and -d, left \(room >> 20) MiB"
    }

    /// A thread alone takes as much.
    private static let noRoom = 8 << 20

    /// The first rank that an error names.
    private static func rank(in error: String) -> Int? {
        error.firstMatch(of: /rank (\d+)/).flatMap { Int($0.1) }
    }
}
