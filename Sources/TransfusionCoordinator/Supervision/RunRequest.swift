internal import Foundation
public import TransfusionConfig

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
    /// The program that ranks run.
    public var worker: String

    /// - Parameters:
    ///   - hosts: Where ranks may run; nil for this host with as many as `ranks` or else the configuration says.
    ///   - directory: nil for `runs/NAME`.
    /// - Throws: `CommandFailure` when that is no run.
    public init(
        _ configuration: RunConfiguration, hosts: [ComputeHost]? = nil, remoteShell: String? = nil, ranks: Int? = nil,
        directory: String? = nil, worker: String? = nil
    ) throws {
        self.configuration = configuration.resolved
        workingDirectory = FileManager.default.currentDirectoryPath
        self.directory = Self.absolute(directory ?? "runs/\(configuration.name)")
        let parallel = configuration.parallel
        self.hosts = ComputeHost.unified(hosts ?? [.local(slots: ranks ?? parallel.tensor * (parallel.data ?? 1))])
        self.remoteShell = remoteShell
        self.ranks = ranks
        self.worker = try worker ?? Self.workerBesideThisProgram()
        _ = try LayoutChoice(configuration, hosts: self.hosts, limit: ranks)
    }

    static func absolute(_ path: String) -> String {
        URL(filePath: path).standardizedFileURL.path(percentEncoded: false).trimmingSuffix("/")
    }

    static func workerBesideThisProgram() throws(CommandFailure) -> String {
        let worker = InstalledProgram.beside("tf-worker")
        guard FileManager.default.isExecutableFile(atPath: worker) else {
            throw CommandFailure("\(worker): is missing; install tf-worker beside tf-coord", .wrongUse)
        }
        return worker
    }
}

extension String {
    fileprivate func trimmingSuffix(_ suffix: String) -> String {
        count > 1 && hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
    }
}
