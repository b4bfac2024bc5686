internal import Foundation
internal import Synchronization
public import TransfusionConfig
public import TransfusionSupport

/// Sends a rank's heartbeats at intervals, on a thread of its own, so that they go on when the training thread hangs:
/// to the coordinator that started the rank, if one did, and into a file.
///
/// It goes on until `finish` is called.
public final class HeartbeatWriter: Sendable {
    /// A collective call under way.
    public struct Collective: Sendable {
        public let site: String
        public let group: String
        public let seconds: Double

        public init(site: String, group: String, seconds: Double) {
            self.site = site
            self.group = group
            self.seconds = seconds
        }
    }

    private let directory: String
    private let rank: Int
    private let timer: PhaseTimer
    private let collective: @Sendable () -> Collective?
    private let mayWriteFiles: @Sendable () -> Bool
    private let onStopRequest: @Sendable () -> Void
    private let onFailure: @Sendable (FileFailure) -> Void
    private let bell = Bell()
    private let failedSaves = Mutex<Heartbeat.FailedSaves?>(nil)
    private let report = Mutex(Report())

    /// What the rank says beside where it is.
    private struct Report {
        var waitsFor: FailureRecord?
        var failure: CommandFailure?
    }

    /// For the last heartbeat, which a coordinator or a disk may not take.
    private static let endPatience = Duration.seconds(10)

    /// - Parameters:
    ///   - directory: The run's heartbeat directory. Until somebody makes it, no files are written.
    ///   - timer: Tells where the rank is.
    ///   - interval: Between two heartbeats to the coordinator; the file is renewed with every other one.
    ///   - endpoint: The file that says where the coordinator listens; nil when there is none.
    ///   - collective: Tells which collective call is under way.
    ///   - mayWriteFiles: Whether the directory is the run's now.
    ///   - onStopRequest: Called when the coordinator wants the run to be saved and to end.
    ///   - onFailure: Called when a heartbeat cannot be written or sent, once until one can be again. Training goes on.
    public init(
        directory: String, rank: Int, timer: PhaseTimer, every interval: Duration = .seconds(1),
        endpoint: String? = HeartbeatEndpoint.fileOfThisProcess,
        collective: @escaping @Sendable () -> Collective? = { nil },
        mayWriteFiles: @escaping @Sendable () -> Bool = { true },
        onStopRequest: @escaping @Sendable () -> Void = {},
        onFailure: @escaping @Sendable (FileFailure) -> Void
    ) {
        self.directory = directory
        self.rank = rank
        self.timer = timer
        self.collective = collective
        self.mayWriteFiles = mayWriteFiles
        self.onStopRequest = onStopRequest
        self.onFailure = onFailure
        Thread.detachNewThread { [self] in
            // A coordinator that hangs up is no reason to end.
            var brokenPipe = sigset_t()
            sigemptyset(&brokenPipe)
            sigaddset(&brokenPipe, SIGPIPE)
            pthread_sigmask(SIG_BLOCK, &brokenPipe, nil)
            var outputs = Outputs(channel: endpoint.map { HeartbeatChannel(endpointFile: $0) })
            var count = 0
            repeat {
                beat(&outputs, withFile: count % 2 == 0)
                count += 1
            } while !bell.waitForEnd(atMost: interval)
            timer.enter(.finished)
            beat(&outputs, withFile: true)
            bell.confirmEnd()
        }
    }

    /// Sends a last heartbeat, which says that the rank has finished, and ends the thread.
    /// - Parameter failure: Why the rank does not go on, if it has failed.
    public func finish(_ failure: CommandFailure? = nil) {
        report.withLock { $0.failure = failure }
        bell.ringForEnd(atMost: Self.endPatience)
    }

    /// Says what the rank waits for, because it cannot go on without: room on a disk. nil when it goes on.
    public func waits(for record: FailureRecord?) {
        report.withLock { $0.waitsFor = record }
        bell.ring()
    }

    /// Sends a heartbeat now, because something has happened that the coordinator waits for.
    public func beat() {
        bell.ring()
    }

    /// Takes note of a checkpoint that could not be saved: heartbeats tell of it until one can be again.
    public func saveFailed(step: Int, reason: String) {
        failedSaves.withLock {
            $0 = Heartbeat.FailedSaves(count: ($0?.count ?? 0) + 1, step: step, reason: reason)
        }
    }

    /// Takes note of a checkpoint that is safe.
    public func saveSucceeded() {
        failedSaves.withLock { $0 = nil }
    }

    /// Where heartbeats go, and what the last attempt showed.
    private struct Outputs {
        let channel: HeartbeatChannel?
        var meanSeconds: [Phase: Double] = [:]
        var fileWorked = true
        var hasWrittenFile = false
        var channelWorked = true
        var wasAskedToStop = false
    }

    private func beat(_ outputs: inout Outputs, withFile: Bool) {
        if let mean = timer.takeMeanStepSeconds() { outputs.meanSeconds = mean }
        guard let contents = try? heartbeat(outputs.meanSeconds).json() else { return }
        if let channel = outputs.channel {
            do {
                let answer = try channel.send(contents)
                outputs.channelWorked = true
                if answer.stop, !outputs.wasAskedToStop {
                    outputs.wasAskedToStop = true
                    onStopRequest()
                }
            } catch {
                if outputs.channelWorked { onFailure(error) }
                outputs.channelWorked = false
            }
        }
        guard withFile, mayWriteFiles(), outputs.hasWrittenFile || FileManager.default.fileExists(atPath: directory)
        else { return }
        do {
            try AtomicFile.write(contents, to: Heartbeat.file(rank: rank, in: directory), durable: false)
            outputs.hasWrittenFile = true
            outputs.fileWorked = true
        } catch {
            if outputs.fileWorked { onFailure(error) }
            outputs.fileWorked = false
        }
    }

    private func heartbeat(_ meanSeconds: [Phase: Double]) -> Heartbeat {
        let position = timer.position
        var heartbeat = Heartbeat(
            rank: rank, host: ProcessInfo.processInfo.hostName, pid: getpid(), step: position.step,
            phase: position.phase, phaseSeconds: (ContinuousClock.now - position.since) / .seconds(1),
            time: Date().timeIntervalSince1970, memoryBytes: ProcessMemory.residentBytes)
        if let call = collective() {
            heartbeat.collective = call.site
            heartbeat.collectiveGroup = call.group
            heartbeat.collectiveSeconds = call.seconds
        }
        heartbeat.failedSaves = failedSaves.withLock(\.self)
        heartbeat.memoryRoomBytes = ProcessMemory.roomBytes
        let report = report.withLock { $0 }
        heartbeat.waitsFor = report.waitsFor
        heartbeat.failure = report.failure?.brief
        heartbeat.computeSeconds = meanSeconds[.compute] ?? 0
        heartbeat.waitSeconds = meanSeconds[.wait] ?? 0
        return heartbeat
    }
}
