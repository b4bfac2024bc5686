internal import Foundation
internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionParallel
internal import TransfusionSupport
internal import TransfusionTelemetry

/// The run's directory: taken for this job alone, and left when it is another's.
extension TrainingLoop {
    /// Makes the directory, or enters it. One process does; the others learn whether it could.
    func enterDirectory() throws {
        try group.agree("making the run directory") {
            guard group.rank == 0 else { return }
            try directory.check(configuration)
            try checkpoints.checkNewest(options.resume, task)
            try claim.train(launch: HeartbeatEndpoint.launchOfThisProcess)
            try enter(directory)
            if let warning = claim.warning { reporter.log("warning: \(warning)") }
        }
        try group.agree("entering the run directory") {
            if group.rank != 0 { try claim.join() }
        }
    }

    private func enter(_ directory: RunDirectory) throws {
        let changes = directory.changes(to: configuration)
        if !changes.isEmpty {
            reporter.log("changed since the last start: " + changes.map(\.description).joined(separator: "; "))
        }
        try directory.enter(configuration)
        func isMissing(_ path: String) -> Bool { !FileManager.default.fileExists(atPath: path) }
        if let tokenizer = task.tokenizer {
            let path = directory.path + "/" + tokenizer.form.fileName
            if isMissing(path) { try AtomicFile.write(tokenizer.contents, to: path) }
        }
        if let autoencoder = task.autoencoder {
            let path = directory.path + "/" + AutoencoderWeights.copyName
            if isMissing(path) { try AutoencoderWeights(autoencoder).writeCopy(to: path) }
        }
    }

    /// Ends the run on all ranks when its directory was removed or is another's. Nothing is written there any more; the
    /// state is kept beside it, in a directory that the run can go on in.
    func leaveLostDirectory() throws {
        let findings = try group.allGather(Array((claim.findLoss() ?? "").utf8), site: "run directory")
        guard let loss = findings.first(where: { !$0.isEmpty }) else { return }
        let path = try group.broadcast(Array((claim.refuge?.path ?? "").utf8), root: 0, site: "refuge")
        let refuge = RunDirectory(String(decoding: path, as: UTF8.self))
        var kept =
            "the state of step \(state.step) is kept in \(refuge.path), a run directory that the run can go on in"
        do {
            try group.agree("keeping the state") {
                if group.rank == 0 { try enter(refuge) }
            }
            try checkpoints.save(state, task, elsewhere: refuge)
        } catch {
            kept = "the state of step \(state.step) could not be kept (\(error))"
        }
        throw SharedFailure(
            failure: CommandFailure(
                "\(directory.path): \(String(decoding: loss, as: UTF8.self)) while the run trained; \(kept)"))
    }
}
