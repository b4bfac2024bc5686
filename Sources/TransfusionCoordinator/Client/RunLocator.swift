internal import Foundation
public import TransfusionConfig

/// Finds runs by what people call them: the path of a run directory, or the name of one below the root.
public struct RunLocator: Sendable {
    /// Where runs lie unless somebody says otherwise.
    public static let root = "runs"

    /// The daemon that serves the runs of this place, if one runs.
    public let daemon: DaemonEndpoint?
    private let root: String

    /// - Parameter root: The directory of the runs; nil for that of the daemon of this user, or else `runs`.
    public init(root: String? = nil) {
        daemon = DaemonFiles.runningDaemon(root: root)
        self.root = root ?? daemon?.root ?? Self.root
    }

    /// A run.
    /// - Parameter run: nil for the run that is supervised now, or else the one that was started last.
    public func find(_ run: String?) throws(CommandFailure) -> RunClient {
        guard let run else {
            guard let directory = all().first else {
                throw CommandFailure("there is no run below \(root); name a run directory", .wrongUse)
            }
            return RunClient(directory, daemon: daemon)
        }
        let isName = !run.contains("/")
        let candidates = [run] + (isName ? ["\(root)/\(run)"] : [])
        for candidate in candidates where Self.isRun(candidate) {
            return RunClient(RunDirectory(RunRequest.absolute(candidate)), daemon: daemon)
        }
        // A run that waits for its first launch has no directory yet.
        if let daemon, run.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9._-]*/) != nil {
            return RunClient(RunDirectory("\(daemon.root)/\(run)"), daemon: daemon)
        }
        throw CommandFailure(
            "\(run): there is no such run; give a run directory, or the name of one below \(root)", .wrongUse)
    }

    /// All runs below the root: those that are supervised first, then those that changed last.
    private func all() -> [RunDirectory] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        let runs = names.map { "\(root)/\($0)" }.filter(Self.isRun).map { RunDirectory(RunRequest.absolute($0)) }
        return runs.map { (directory: $0, key: Self.key($0)) }.sorted { $0.key > $1.key }.map(\.directory)
    }

    private static func isRun(_ path: String) -> Bool {
        let directory = RunDirectory(path)
        return [directory.configuration, directory.coordinator].contains(where: FileManager.default.fileExists(atPath:))
    }

    private static func key(_ directory: RunDirectory) -> (Int, Double) {
        let files = RunFiles(directory)
        let attributes = try? FileManager.default.attributesOfItem(atPath: files.status)
        let changed = (attributes?[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
        return (files.isSupervised ? 1 : 0, changed)
    }
}
