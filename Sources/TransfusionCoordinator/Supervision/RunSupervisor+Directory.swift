internal import Foundation
internal import TransfusionConfig
internal import TransfusionSupport
internal import TransfusionTelemetry

/// A run whose directory was removed, or is another's: it ends, and nothing is written there any more.
extension RunSupervisor {
    /// Lets the ranks end when the directory is lost: each job notices by itself, and keeps its state beside it.
    /// - Returns: What to say of the end; nil as long as the directory is the run's.
    func leaveLostDirectory(_ launch: MPILaunch) async -> String? {
        guard let loss = claim.findLoss() else { return nil }
        log("\(directory.path): \(loss); the ranks keep their state and end")
        requestStop()
        let deadline = MonotonicTime.seconds + configuration.supervision.saveTimeout
        while launch.end == nil, MonotonicTime.seconds < deadline, !isEndingAtOnce {
            try? await Task.sleep(for: .milliseconds(50))
        }
        return lossReason(loss)
    }

    /// How a run ends that has lost its directory.
    func lossReason(_ loss: String) -> String {
        let reason = "\(directory.path): \(loss) while the run was supervised"
        guard let refuge = claim.refuge, !CheckpointWatch.directories(of: refuge).isEmpty else { return reason }
        return "\(reason); its state is kept in \(refuge.path), a run directory that the run can go on in"
    }

    /// Why the ranks that were ended without saving have not saved everything.
    var reasonAtOnce: String {
        "ended at once, without saving; "
            + (checkpoints.step.map { "'tf-coord resume' goes on from the checkpoint of step \($0)" }
                ?? "there is no checkpoint yet, and 'tf-coord resume' begins anew")
    }

    /// Where there are no locks, heartbeats that are renewed show another job.
    static func requireNoOtherJob(_ claim: RunClaim, _ files: RunFiles, _ log: Log) throws {
        guard let warning = claim.warning else { return }
        log("warning: \(warning)")
        guard !files.mayHaveProcesses, let other = Heartbeat.ofOtherJob(in: files.directory.heartbeats) else { return }
        throw CommandFailure(
            "\(files.directory.path): process \(other.pid) on \(other.host) trains this run already; stop it, or choose "
                + "another run directory", .wrongUse)
    }

    // MARK: Where the run goes on from

    /// Launches go on from what was asked for until they have saved a checkpoint of their own; then from their newest.
    func forgetResumeOnceSaved() {
        guard request.resume != nil, claim.findLoss() == nil else { return }
        let known = Set(state.oldCheckpoints ?? [])
        guard !CheckpointWatch.directories(of: directory).isSubset(of: known) else { return }
        request.resume = nil
        do { try files.write(request, to: files.request, durable: true) } catch { log("warning: \(error)") }
    }
}
