internal import Foundation
public import TransfusionConfig

/// Finds runs by what people call them: the path of a run directory, or the name of one below `runs`.
public struct RunLocator: Sendable {
    /// Where runs lie unless somebody says otherwise.
    public static let root = "runs"

    /// The directory of a run.
    /// - Parameter run: nil for the run that is supervised now, or else the one that was started last.
    public static func find(_ run: String?) throws(CommandFailure) -> RunDirectory {
        guard let run else {
            guard let directory = all().first else {
                throw CommandFailure("there is no run below \(root); name a run directory", .wrongUse)
            }
            return directory
        }
        let candidates = [run] + (run.contains("/") ? [] : ["\(root)/\(run)"])
        for candidate in candidates where isRun(candidate) { return RunDirectory(RunRequest.absolute(candidate)) }
        throw CommandFailure(
            "\(run): there is no such run; give a run directory, or the name of one below \(root)", .wrongUse)
    }

    /// All runs below `root`: those that are supervised first, then those that changed last.
    public static func all() -> [RunDirectory] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        let runs = names.map { "\(root)/\($0)" }.filter(isRun).map { RunDirectory(RunRequest.absolute($0)) }
        return runs.map { (directory: $0, key: key($0)) }.sorted { $0.key > $1.key }.map(\.directory)
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
