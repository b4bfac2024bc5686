internal import Foundation
internal import TransfusionCheckpoint
public import TransfusionConfig
internal import TransfusionCore
public import TransfusionParallel
internal import TransfusionSupport
internal import TransfusionTelemetry

/// Training as a process is asked for it.
public enum TrainingJob {
    /// Reads a configuration and trains what it describes; every rank calls it.
    ///
    /// - Parameters:
    ///   - group: All ranks.
    ///   - hostName: This rank's host; ranks of one host share its processors.
    ///   - transport: How the ranks reach each other, for the report.
    ///   - watch: Tells the heartbeats which collective call is under way.
    ///   - log: Called on rank 0 with each line that a person should see.
    /// - Throws: `SharedFailure` for what all ranks know; anything else happened on this rank alone.
    public static func train(
        configurationFile: String, overrides: [String], directory: RunDirectory, group: any Communicator,
        hostName: String, transport: String, watch: CollectiveWatch? = nil, options: TrainingOptions,
        log: @escaping (String) -> Void
    ) throws -> TrainingOutcome {
        let hosts = try hostsOfOneBuild(hostName, group)
        var configuration: RunConfiguration?
        try group.agree("reading the configuration") {
            configuration = try RunConfiguration.loadWithInitialWeights(configurationFile, overrides: overrides)
        }
        guard let configuration else { preconditionFailure("all ranks agreed on a configuration that is not there") }
        let claim = RunClaim(directory)
        try refuseSecondJob(claim, group)
        let ranksOnHost = hosts.count { $0 == hostName }
        let ranks = "ranks: \(group.size) on \(Set(hosts).count) hosts, by \(transport)"
        switch configuration.task {
        case .transfusion:
            let loop = try TrainingLoop<TransfusionTask>(
                configuration, directory: directory, group: group, ranksOnHost: ranksOnHost, watch: watch,
                options: options, claim: claim, log: log)
            loop.reporter.log(ranks)
            return try loop.run()
        case .autoencoder:
            let loop = try TrainingLoop<AutoencoderTask>(
                configuration, directory: directory, group: group, watch: watch, options: options, claim: claim,
                log: log
            ) {
                try TrainingSetup(configuration, group: group, ranksOnHost: ranksOnHost)
            }
            loop.reporter.log(ranks)
            return try loop.run()
        }
    }

    /// The hosts of all ranks, in their order. Refuses ranks of different builds before they say anything else to each other:
    /// they could wait for each other for ever, or compute different things.
    private static func hostsOfOneBuild(_ hostName: String, _ group: any Communicator) throws -> [String] {
        // Linux shows the program here also when its file was replaced.
        let program = (try? HostReport.digest(ofProgram: "/proc/self/exe")) ?? "unknown"
        let own = HostReport.name(ofVersion: ProductVersion.full, program: program)
        let ranks = try group.allGather(Array("\(own)\n\(hostName)".utf8), site: "builds").map {
            String(decoding: $0, as: UTF8.self).split(separator: "\n", maxSplits: 1).map(String.init)
        }
        let builds = Dictionary(grouping: ranks) { $0[0] }
        guard builds.count == 1 else {
            let parts = builds.sorted { $0.key < $1.key }.map { build, ranks in
                "\(build) on \(Set(ranks.map { $0[1] }).sorted().joined(separator: ", "))"
            }
            throw SharedFailure(
                failure: CommandFailure(
                    "the ranks are of different builds of transfusion: \(parts.joined(separator: "; ")); install the same on "
                        + "all hosts", .wrongUse))
        }
        return ranks.map { $0[1] }
    }

    /// Refuses to train beside another job, as far as that can be known before the run's directory is made.
    private static func refuseSecondJob(_ claim: RunClaim, _ group: any Communicator) throws {
        try group.agree("looking for another job") {
            guard group.rank == 0 else { return }
            // The long work of opening the data comes later.
            if FileManager.default.fileExists(atPath: claim.directory.configuration) {
                try claim.train(launch: HeartbeatEndpoint.launchOfThisProcess)
            }
            guard let other = Heartbeat.ofOtherJob(in: claim.directory.heartbeats) else { return }
            throw CommandFailure(
                "\(claim.directory.path): process \(other.pid) on \(other.host) trains this run already; stop it, or choose "
                    + "another run directory", .wrongUse)
        }
    }
}

extension TrainingLoop {
    /// Begins to send heartbeats, and makes what the run trains with.
    ///
    /// - Parameters:
    ///   - group: All ranks.
    ///   - watch: Tells the heartbeats which collective call is under way.
    ///   - log: Called on rank 0 with each line that a person should see.
    ///   - makeSetup: The long work of reading data and making the model.
    convenience init(
        _ configuration: RunConfiguration, directory: RunDirectory, group: any Communicator,
        watch: CollectiveWatch? = nil, options: TrainingOptions = TrainingOptions(), claim: RunClaim? = nil,
        log: @escaping (String) -> Void, makeSetup: () throws -> TrainingSetup<Task>
    ) throws {
        let claim = claim ?? RunClaim(directory)
        let timer = PhaseTimer()
        let say = UncheckedLog(line: log)
        let heartbeats = HeartbeatWriter(directory: directory.heartbeats, rank: group.rank, timer: timer) {
            watch?.current.map { HeartbeatWriter.Collective(site: $0.site, group: $0.group, seconds: $0.seconds) }
        } mayWriteFiles: {
            claim.findLoss() == nil && claim.isHeld
        } onStopRequest: {
            StopSignal.request()
        } onFailure: { failure in
            say.line("warning: \(failure)")
        }
        do {
            try self.init(
                configuration, claim: claim, try makeSetup(), timer: timer, heartbeats: heartbeats, options: options,
                log: log)
        } catch {
            heartbeats.finish(CommandFailure(reporting: (error as? SharedFailure)?.failure ?? error))
            throw error
        }
    }
}

extension TrainingLoop where Task == TransfusionTask {
    /// - Parameter ranksOnHost: How many of the ranks share this host's processors.
    convenience init(
        _ configuration: RunConfiguration, directory: RunDirectory, group: any Communicator, ranksOnHost: Int,
        watch: CollectiveWatch? = nil, options: TrainingOptions = TrainingOptions(), claim: RunClaim? = nil,
        log: @escaping (String) -> Void
    ) throws {
        try self.init(
            configuration, directory: directory, group: group, watch: watch, options: options, claim: claim, log: log
        ) {
            try TrainingSetup(configuration, group: group, ranksOnHost: ranksOnHost)
        }
    }
}

/// Hands the log to the heartbeat thread.
///
/// `@unchecked Sendable`: the log is a print to standard output, which may be called from any thread.
private struct UncheckedLog: @unchecked Sendable {
    let line: (String) -> Void
}
