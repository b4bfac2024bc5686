internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionParallel
internal import TransfusionSupport
internal import TransfusionTelemetry

/// The run's directory: taken for this job alone, and left when it is another's.
extension TrainingLoop {
    /// Refuses to train beside another job, as far as that can be known before the run's directory is made.
    static func refuseSecondJob(_ claim: RunClaim, _ group: any Communicator) throws {
        try group.agree("looking for another job") {
            guard group.rank == 0 else { return }
            // The long work of opening the data comes later.
            if FileManager.default.fileExists(atPath: claim.directory.configuration) { try claim.train(launch: launch) }
            guard let other = Heartbeat.ofOtherJob(in: claim.directory.heartbeats) else { return }
            throw CommandFailure(
                "\(claim.directory.path): process \(other.pid) on \(other.host) trains this run already; stop it, or choose "
                    + "another --run-dir", .wrongUse)
        }
    }

    /// Makes the directory, or enters it. One process does; the others learn whether it could.
    func enterDirectory(tokenizer: [UInt8]) throws {
        try group.agree("making the run directory") {
            guard group.rank == 0 else { return }
            try directory.check(configuration)
            try claim.train(launch: Self.launch)
            try enter(directory, tokenizer)
            if let warning = claim.warning { reporter.log("warning: \(warning)") }
        }
        try group.agree("entering the run directory") {
            if group.rank != 0 { try claim.join() }
        }
    }

    private func enter(_ directory: RunDirectory, _ tokenizer: [UInt8]) throws {
        try directory.enter(configuration)
        guard !FileManager.default.fileExists(atPath: directory.tokenizer) else { return }
        try AtomicFile.write(tokenizer, to: directory.tokenizer)
    }

    /// Ends the run on all ranks when its directory was removed or is another's. Nothing is written there any more; the
    /// state is kept beside it, in a directory that the run can go on in.
    func leaveLostDirectory() throws {
        let findings = try group.allGather(Array((claim.findLoss() ?? "").utf8), site: "run directory")
        guard let loss = findings.first(where: { !$0.isEmpty }) else { return }
        let path = try group.broadcast(Array((claim.refuge?.path ?? "").utf8), root: 0, site: "refuge")
        let refuge = RunDirectory(String(decoding: path, as: UTF8.self))
        var kept = "the state of step \(state.step) is kept in \(refuge.path), where --run-dir \(refuge.path) goes on"
        do {
            try group.agree("keeping the state") {
                if group.rank == 0 { try enter(refuge, setup.source.dataset.tokenizer.model) }
            }
            try checkpoints.save(state, setup, elsewhere: refuge)
        } catch {
            kept = "the state of step \(state.step) could not be kept (\(error))"
        }
        throw SharedFailure(
            failure: CommandFailure(
                "\(directory.path): \(String(decoding: loss, as: UTF8.self)) while the run trained; \(kept)"))
    }

    /// The launch of a coordinator that this process belongs to.
    private static var launch: String? {
        ProcessInfo.processInfo.environment[HeartbeatEndpoint.launchVariable]
    }
}
