internal import Foundation
internal import Synchronization
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
    private let onStopRequest: @Sendable () -> Void
    private let onFailure: @Sendable (FileFailure) -> Void
    private let bell = Bell()
    private let failedSaves = Mutex<Heartbeat.FailedSaves?>(nil)

    /// - Parameters:
    ///   - directory: The run's heartbeat directory. Until somebody makes it, no files are written.
    ///   - timer: Tells where the rank is.
    ///   - interval: Between two heartbeats to the coordinator; the file is renewed with every other one.
    ///   - endpoint: The file that says where the coordinator listens; nil when there is none.
    ///   - collective: Tells which collective call is under way.
    ///   - onStopRequest: Called when the coordinator wants the run to be saved and to end.
    ///   - onFailure: Called when a heartbeat cannot be written or sent, once until one can be again. Training goes on.
    public init(
        directory: String, rank: Int, timer: PhaseTimer, every interval: Duration = .seconds(1),
        endpoint: String? = HeartbeatEndpoint.fileOfThisProcess,
        collective: @escaping @Sendable () -> Collective? = { nil },
        onStopRequest: @escaping @Sendable () -> Void = {},
        onFailure: @escaping @Sendable (FileFailure) -> Void
    ) {
        self.directory = directory
        self.rank = rank
        self.timer = timer
        self.collective = collective
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
    public func finish() {
        bell.ringForEnd()
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
        guard withFile, outputs.hasWrittenFile || FileManager.default.fileExists(atPath: directory) else { return }
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
        heartbeat.computeSeconds = meanSeconds[.compute] ?? 0
        heartbeat.waitSeconds = meanSeconds[.wait] ?? 0
        return heartbeat
    }
}

/// Wakes the thread of a writer, and tells it when to end.
private final class Bell: Sendable {
    private let signal = DispatchSemaphore(value: 0)
    private let confirmation = DispatchSemaphore(value: 0)
    private let isEnding = Mutex(false)

    func ring() {
        signal.signal()
    }

    /// Waits until the time is over or somebody rings.
    /// - Returns: Whether the thread shall end.
    func waitForEnd(atMost interval: Duration) -> Bool {
        _ = signal.wait(timeout: .now() + interval / .seconds(1))
        return isEnding.withLock { $0 }
    }

    func confirmEnd() {
        confirmation.signal()
    }

    /// Waits for the last heartbeat, but not for a coordinator or a disk that does not take it.
    func ringForEnd() {
        isEnding.withLock { $0 = true }
        signal.signal()
        _ = confirmation.wait(timeout: .now() + 10)
    }
}
