internal import Foundation
internal import TransfusionConfig
internal import TransfusionSupport

/// What a daemon keeps beside the runs below its root, in a directory that only the user can read.
public struct DaemonFiles: Sendable {
    /// The directory below which all runs of the daemon lie; absolute.
    public let root: String

    public init(root: String) {
        self.root = RunRequest.absolute(root)
    }

    private var directory: String { root + "/.coordinator" }
    var store: String { directory + "/runs.sqlite" }
    /// Where commands ask, with their token.
    private var endpoint: String { directory + "/daemon.json" }
    /// Where commands and ranks of this host ask.
    var socket: String { directory + "/socket" }
    private var lockFile: String { directory + "/lock" }

    func make() throws {
        do {
            try PrivateDirectory(directory).make()
        } catch {
            throw CommandFailure("\(error); or choose another root directory", .wrongUse)
        }
    }

    /// Makes this process the only daemon of the root, until it ends.
    /// - Returns: Keep it; the lock goes with it.
    func lock() throws -> FileLock {
        guard let lock = try FileLock.take(lockFile) else {
            throw CommandFailure("\(root): another tf-coord serves the runs there; see 'tf-coord status'", .wrongUse)
        }
        PrivateDirectory(directory).removeLeftovers()
        return lock
    }

    /// Tells commands where the daemon is; also those that run elsewhere but in the same session of the user.
    func publish(_ endpoint: DaemonEndpoint) throws {
        let content = try CoordinatorJSON.encode(endpoint, pretty: true)
        for path in [self.endpoint, Self.sessionFile].compactMap(\.self) {
            try PrivateDirectory(Paths.parent(of: path)).write(content, to: Paths.name(of: path), durable: false)
        }
    }

    /// Takes back what `publish` said.
    func withdraw() {
        unlink(endpoint)
        if let file = Self.sessionFile, Self.read(file)?.root == root { unlink(file) }
    }

    /// The daemon that serves the runs below a root now.
    /// - Parameter root: nil for `runs` in the working directory, or else the daemon that this user started last.
    public static func runningDaemon(root: String?) -> DaemonEndpoint? {
        let files = DaemonFiles(root: root ?? RunLocator.root)
        var candidates = [files.endpoint]
        if root == nil, let file = sessionFile { candidates.append(file) }
        for candidate in candidates {
            if let endpoint = read(candidate), FileLock.isTaken(DaemonFiles(root: endpoint.root).lockFile) {
                return endpoint
            }
        }
        return nil
    }

    private static func read(_ path: String) -> DaemonEndpoint? {
        FileManager.default.contents(atPath: path).flatMap {
            try? CoordinatorJSON.decode(DaemonEndpoint.self, from: $0)
        }
    }

    /// A file of the user's session, which the system keeps from other users; nil where there is no session of this user,
    /// as after `su`.
    private static var sessionFile: String? {
        guard let directory = ProcessInfo.processInfo.environment["XDG_RUNTIME_DIR"], !directory.isEmpty,
            PrivateDirectory(directory).isUsable
        else { return nil }
        return directory + "/tf-coord.json"
    }
}

/// Where a daemon answers commands, in a file that only the user can read.
public struct DaemonEndpoint: Sendable, Codable, Equatable {
    public var url: String
    /// The same, for commands on its host.
    public var socket: String?
    public var root: String
    public var token: String
    public var pid: Int32
}
