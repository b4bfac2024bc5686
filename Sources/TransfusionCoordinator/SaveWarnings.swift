internal import Foundation
internal import TransfusionTelemetry

/// What endangers the checkpoints of a run, for the warnings of its status.
enum SaveWarnings {
    /// Saves that fail, as the ranks tell it: all of them learn of a failure, so one is asked.
    static func failures(_ heartbeats: [Heartbeat]) -> [String] {
        guard let failed = heartbeats.lazy.compactMap(\.failedSaves).first else { return [] }
        let saves = failed.count == 1 ? "the last save" : "the last \(failed.count) saves"
        return [
            "\(saves) failed, of step \(failed.step) because of \(failed.reason); a restart would lose what was done since"
        ]
    }

    /// A file system on which soon no file can be made, however many bytes are free.
    static func scarceFiles(at path: String, ranks: Int) -> [String] {
        var status = statvfs()
        // Some file systems have no fixed number of files, and say 0.
        guard statvfs(path, &status) == 0, status.f_files > 0 else { return [] }
        let free = Int(clamping: status.f_favail)
        return scarceFiles(free: free, at: path, ranks: ranks)
    }

    /// - Parameter free: Files that can still be made.
    static func scarceFiles(free: Int, at path: String, ranks: Int) -> [String] {
        // A checkpoint has a file for each rank, and so do the heartbeats.
        guard free < 100 + 4 * ranks else { return [] }
        return [
            "only \(free) more files can be made at \(path) ('df -i' shows it); remove some, or checkpoints cannot be saved"
        ]
    }
}
