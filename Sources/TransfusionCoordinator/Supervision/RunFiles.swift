internal import Foundation
public import TransfusionConfig
internal import TransfusionSupport
internal import TransfusionTelemetry

/// What the coordinator keeps in a run's directory: enough for the next coordinator to go on where this one was killed,
/// and for `tf-coord status` when no coordinator answers.
public struct RunFiles: Sendable {
    public let directory: RunDirectory

    public init(_ directory: RunDirectory) {
        self.directory = directory
    }

    /// The configuration that launches use, whatever becomes of the file that it was read from.
    var configuration: String { directory.coordinator + "/config.yaml" }
    /// The request that the run was last started with.
    var request: String { directory.coordinator + "/request.json" }
    var state: String { directory.coordinator + "/state.json" }
    var status: String { directory.coordinator + "/status.json" }
    /// The hosts of a launch, where mpirun needs them in a file.
    var hosts: String { directory.coordinator + "/hosts" }
    /// Where ranks send heartbeats, with their token.
    var endpoint: String { directory.coordinator + "/worker.json" }
    /// Where commands ask, with their token.
    var control: String { directory.coordinator + "/control.json" }
    /// Where the coordinator of a foreground run listens for commands and ranks of its host.
    var socket: String { directory.coordinator + "/socket" }

    /// The output of mpirun and all ranks in a launch.
    func log(ofLaunch number: Int) -> String {
        directory.logs + "/launch-\(String(repeating: "0", count: max(0, 4 - String(number).count)))\(number).log"
    }

    /// The launches that have a log, oldest first.
    public func logs() -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.logs)) ?? []
        return names.filter { $0.hasPrefix("launch-") && $0.hasSuffix(".log") }.sorted().map {
            directory.logs + "/" + $0
        }
    }

    func make() throws {
        do {
            // Tokens lie here.
            try secrets.make()
            for path in [directory.logs, directory.heartbeats] { try Directories.make(path) }
        } catch {
            throw CommandFailure("\(error); or choose another run directory", .wrongUse)
        }
    }

    private var secrets: PrivateDirectory { PrivateDirectory(directory.coordinator) }

    /// Removes what a coordinator left half written that was killed; for the one that supervises the run.
    func removeLeftovers() { secrets.removeLeftovers() }

    /// Whether processes of the run may be left on this host, as the last coordinator knew them.
    var mayHaveProcesses: Bool {
        read(SupervisorState.self, from: state).map { !ProcessTable.survey(ofRun: $0.identity).provesNone } ?? false
    }

    /// Whether a coordinator supervises the run now.
    public var isSupervised: Bool {
        RunClaim.Holder(directory.supervisionLock)?.role == .coordinator && FileLock.isTaken(directory.supervisionLock)
    }

    func write(_ value: some Encodable, to path: String, durable: Bool) throws {
        try secrets.write(CoordinatorJSON.encode(value, pretty: true), to: Paths.name(of: path), durable: durable)
    }

    func read<Value: Decodable>(_ type: Value.Type, from path: String) -> Value? {
        FileManager.default.contents(atPath: path).flatMap { try? CoordinatorJSON.decode(type, from: $0) }
    }

    func writeEndpoint(_ endpoint: HeartbeatEndpoint) throws {
        try secrets.write(JSONEncoder().encode(endpoint), to: Paths.name(of: self.endpoint))
    }
}

/// Where a coordinator answers commands, in a file that only the user can read.
public struct ControlEndpoint: Sendable, Codable, Equatable {
    public var url: String
    /// The same, for commands on its host.
    public var socket: String?
    public var run: String
    public var token: String
    public var pid: Int32
}

/// What a coordinator has to know of a run to go on with it.
struct SupervisorState: Codable, Sendable {
    var run: String
    /// Tells the processes of this run from those of all others, also of a run of the same name.
    var identity = UUID().uuidString
    /// The directory of the run: a copy of a run is another one.
    var directory: String
    /// When the run was launched for the first time, in seconds since 1970.
    var started: Double?
    /// Seconds in which somebody wanted the run to go on, until `wantedSince`; nil before the first start.
    var wantedSeconds: Double?
    /// Since when somebody wants it; nil between its end, or a stop, and the next start.
    var wantedSince: ClockMark?
    /// Launches so far.
    var launches = 0
    /// The launch that runs, as far as the last coordinator knew.
    var launch: LaunchRecord?
    var budget = RestartBudget()
    var restarts: [RunStatus.Restart] = []
    var recoveries: [RunStatus.Recovery] = []
    var exit: RunStatus.Exit?
    /// The checkpoints that were there when somebody last asked for a place to go on from.
    var oldCheckpoints: [FileIdentity]?

    /// Seconds since the first start without those in which nobody wanted the run to go on.
    func wantedSeconds(until now: ClockMark) -> Double? {
        wantedSeconds.map { $0 + (wantedSince?.seconds(until: now) ?? 0) }
    }

    /// What is kept of a long history.
    static let historyLimit = 500

    init(run: String, directory: String) {
        self.run = run
        self.directory = directory
    }

    /// What the last coordinator of a run has left; a new state for a new run.
    /// - Throws: `CommandFailure` when it cannot be read: processes may be left that nobody would find.
    init(_ files: RunFiles, run: String) throws(CommandFailure) {
        let directory = files.directory.path
        guard let data = FileManager.default.contents(atPath: files.state) else {
            self.init(run: run, directory: directory)
            return
        }
        guard let state = try? CoordinatorJSON.decode(SupervisorState.self, from: data) else {
            throw CommandFailure(
                "\(files.state): is not of this version of tf-coord; when no rank of the run is left, remove it and start again"
            )
        }
        self = state
        self.directory = directory
        // Several paths may lead to one directory.
        guard state.directory != directory, !FileIdentity.areSame(state.directory, directory) else { return }
        // Moved or copied: the processes that it knows of belong to the other one.
        identity = UUID().uuidString
        launch = nil
    }
}

/// A launch of mpirun.
struct LaunchRecord: Codable, Sendable, Equatable {
    /// Names the launch in the environment of its processes: the identity of the run, a dot and the number.
    let id: String
    /// From 1.
    let number: Int
    var pid: Int32
    let hosts: [ComputeHost]
    let data: Int
    let tensor: Int

    var ranks: Int { data * tensor }

    /// The host that mpirun places a rank on: it fills one after the other.
    func host(of rank: Int) -> ComputeHost? {
        var first = 0
        for host in hosts {
            if (first..<first + host.slots).contains(rank) { return host }
            first += host.slots
        }
        return nil
    }

    /// The ranks that run on this host.
    var localRanks: [Range<Int>] {
        var first = 0
        return hosts.compactMap { host in
            defer { first += host.slots }
            return host.isLocal ? first..<first + host.slots : nil
        }
    }

    var remoteHosts: [ComputeHost] { hosts.filter { !$0.isLocal } }
}
