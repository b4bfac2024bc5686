internal import Foundation
internal import SystemPackage
internal import TransfusionCheckpoint
public import TransfusionConfig
internal import TransfusionCore

/// A run that somebody wants: what to train, where, and with how many ranks.
public struct RunRequest: Sendable, Codable, Equatable {
    /// The resolved configuration, as YAML.
    public var configuration: String
    /// The absolute path of the run directory.
    public var directory: String
    /// What relative paths of the configuration start from.
    public var workingDirectory: String
    public var hosts: [ComputeHost]
    /// The program that reaches other hosts, with its options; nil for the one that Open MPI is set to use.
    public var remoteShell: String?
    /// The most ranks; nil for as many as the hosts take.
    public var ranks: Int?
    /// `none`, or the path of the run or checkpoint that it goes on from; nil for its own newest checkpoint, as at once when
    /// it has saved one.
    public var resume: String?
    /// The program that ranks run.
    public var worker: String

    /// - Parameters:
    ///   - hosts: Where ranks may run; nil for this host with as many as `ranks` or else the configuration says.
    ///   - directory: nil for `runs/NAME`.
    ///   - resume: `auto`, `none`, or the path of a run or of a checkpoint.
    /// - Throws: `CommandFailure` when that is no run.
    public init(
        _ configuration: RunConfiguration, hosts: [ComputeHost]? = nil, remoteShell: String? = nil, ranks: Int? = nil,
        directory: String? = nil, resume: String = "auto", worker: String? = nil
    ) throws {
        self.configuration = configuration.resolved
        workingDirectory = FileManager.default.currentDirectoryPath
        self.directory = Self.absolute(directory ?? "runs/\(configuration.name)")
        let parallel = configuration.parallel
        self.hosts = ComputeHost.unified(hosts ?? [.local(slots: ranks ?? parallel.tensor * (parallel.data ?? 1))])
        self.remoteShell = remoteShell
        self.ranks = ranks
        self.resume = try Self.resume(resume, configuration)
        self.worker = try worker ?? Self.workerBesideThisProgram()
        _ = try LayoutChoice(configuration, hosts: self.hosts, limit: ranks)
    }

    /// - Throws: `ConfigurationError` when it is of another version.
    func decodedConfiguration() throws(ConfigurationError) -> RunConfiguration {
        try RunConfiguration(yaml: configuration, file: "configuration of \(directory)")
    }

    static func absolute(_ path: String) -> String {
        FilePath(FileManager.default.currentDirectoryPath).pushing(FilePath(path)).lexicallyNormalized().string
    }

    /// Refuses a place that a run cannot go on from before anything is launched.
    private static func resume(_ place: String, _ configuration: RunConfiguration) throws -> String? {
        if place == "auto" { return nil }
        if place == "none" { return place }
        let options = CheckpointOptions(keyFile: configuration.checkpoint.encryptionKeyFile)
        do {
            _ = try CheckpointLocation(place, options: options).newest()
            return absolute(place)
        } catch {
            throw SettingError("resume", "\(place): \(error)")
        }
    }

    static func workerBesideThisProgram() throws(CommandFailure) -> String {
        let worker = InstalledProgram.beside("tf-worker")
        guard FileManager.default.isExecutableFile(atPath: worker) else {
            throw CommandFailure("\(worker): is missing; install tf-worker beside tf-coord", .wrongUse)
        }
        return worker
    }
}
