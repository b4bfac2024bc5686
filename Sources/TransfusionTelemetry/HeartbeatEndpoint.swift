internal import Foundation
public import TransfusionSupport

/// Where a coordinator takes the heartbeats of a run, as it says in a file that only the user can read.
///
/// A file, because a coordinator that was restarted may listen elsewhere, and because a token has no place in an
/// environment or on a command line.
public struct HeartbeatEndpoint: Sendable, Codable, Equatable {
    /// An IP address or the name of a host.
    public var host: String
    public var port: Int
    /// A socket of the coordinator's host, which its ranks there prefer to the port; nil where there is none.
    public var socket: String?
    public var run: String
    /// Allows to send heartbeats of this run, and nothing else.
    public var token: String
    /// The certificate of the coordinator in PEM, and the only one that is trusted; nil when it listens in the clear, which
    /// it does on its own host alone.
    public var certificate: String?

    public init(
        host: String, port: Int, socket: String? = nil, run: String, token: String, certificate: String? = nil
    ) {
        self.host = host
        self.port = port
        self.socket = socket
        self.run = run
        self.token = token
        self.certificate = certificate
    }

    /// The environment variable with the path of the file.
    public static let environmentVariable = "TRANSFUSION_COORDINATOR"
    /// The environment variable with the name of the launch that a rank belongs to.
    public static let launchVariable = "TRANSFUSION_LAUNCH"

    /// The file that this process was started with.
    public static var fileOfThisProcess: String? { ProcessInfo.processInfo.environment[environmentVariable] }
    /// The launch of a coordinator that this process belongs to.
    public static var launchOfThisProcess: String? { ProcessInfo.processInfo.environment[launchVariable] }

    public init(file: String) throws(FileFailure) {
        do {
            self = try JSONDecoder().decode(HeartbeatEndpoint.self, from: Data(contentsOf: URL(filePath: file)))
        } catch {
            throw FileFailure(file, because: "says no coordinator")
        }
    }
}

/// What a coordinator says to a rank when it takes a heartbeat.
public struct HeartbeatAnswer: Sendable, Codable, Equatable {
    /// Whether the run shall be saved and end.
    public var stop: Bool

    public init(stop: Bool) {
        self.stop = stop
    }
}
