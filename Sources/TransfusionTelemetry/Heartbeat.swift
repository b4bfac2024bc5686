internal import Foundation
public import TransfusionConfig

/// A rank's sign of life, in `heartbeats/rank-NNNNN.json`.
public struct Heartbeat: Sendable, Codable, Equatable {
    public var rank: Int
    public var host: String
    public var pid: Int32
    public var step: Int
    public var phase: Phase
    /// How long the rank has been in this phase.
    public var phaseSeconds: Double
    /// When this was written, in seconds since 1970.
    public var time: Double
    public var memoryBytes: Int

    private enum CodingKeys: String, CodingKey {
        case rank, host, pid, step, phase, time
        case phaseSeconds = "phase_seconds"
        case memoryBytes = "memory_bytes"
    }

    /// The file of a rank in a run's heartbeat directory.
    public static func file(rank: Int, in directory: String) -> String {
        let digits = String(rank)
        return "\(directory)/rank-\(String(repeating: "0", count: max(0, 5 - digits.count)))\(digits).json"
    }

    public static func read(_ path: String) throws(FileFailure) -> Heartbeat {
        do {
            return try JSONDecoder().decode(Heartbeat.self, from: Data(contentsOf: URL(filePath: path)))
        } catch {
            throw FileFailure(path, because: "is no heartbeat")
        }
    }

    /// Removes the heartbeats of ranks that a run with `ranks` ranks does not have, left by an earlier start.
    public static func removeStale(in directory: String, ranks: Int) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        for name in names {
            guard name.hasPrefix("rank-"), name.hasSuffix(".json"), let rank = Int(name.dropFirst(5).dropLast(5)),
                rank >= ranks
            else { continue }
            unlink("\(directory)/\(name)")
        }
    }
}

/// Writes a rank's heartbeat at intervals, on a thread of its own, so that it goes on when the training thread hangs.
///
/// It goes on until `finish` is called.
public final class HeartbeatWriter: Sendable {
    private let path: String
    private let rank: Int
    private let timer: PhaseTimer
    private let onFailure: @Sendable (FileFailure) -> Void
    private let ended = EndSignal()

    /// - Parameters:
    ///   - directory: The run's heartbeat directory.
    ///   - timer: Tells where the rank is.
    ///   - onFailure: Called when a heartbeat cannot be written, once until one can be again. Training goes on.
    public init(
        directory: String, rank: Int, timer: PhaseTimer, every interval: Duration = .seconds(2),
        onFailure: @escaping @Sendable (FileFailure) -> Void
    ) {
        path = Heartbeat.file(rank: rank, in: directory)
        self.rank = rank
        self.timer = timer
        self.onFailure = onFailure
        Thread.detachNewThread { [self] in
            var failed = false
            repeat {
                failed = write(afterFailure: failed)
            } while !ended.wait(for: interval)
            timer.enter(.finished)
            _ = write(afterFailure: failed)
            ended.confirm()
        }
    }

    /// Writes a last heartbeat, which says that the rank has finished, and ends the thread.
    public func finish() {
        ended.signalAndWaitForConfirmation()
    }

    /// - Returns: Whether it failed.
    private func write(afterFailure: Bool) -> Bool {
        let position = timer.position
        let heartbeat = Heartbeat(
            rank: rank, host: ProcessInfo.processInfo.hostName, pid: getpid(), step: position.step,
            phase: position.phase, phaseSeconds: (ContinuousClock.now - position.since) / .seconds(1),
            time: Date().timeIntervalSince1970, memoryBytes: ProcessMemory.residentBytes)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        guard let contents = try? encoder.encode(heartbeat) else { return afterFailure }
        do {
            try AtomicFile.write(contents, to: path, durable: false)
            return false
        } catch {
            if !afterFailure { onFailure(error) }
            return true
        }
    }
}

/// Tells a thread to end, and waits until it has.
private final class EndSignal: Sendable {
    private let signal = DispatchSemaphore(value: 0)
    private let confirmation = DispatchSemaphore(value: 0)

    /// - Returns: Whether the end was signalled within the time.
    func wait(for interval: Duration) -> Bool {
        signal.wait(timeout: .now() + interval / .seconds(1)) == .success
    }

    func confirm() {
        confirmation.signal()
    }

    func signalAndWaitForConfirmation() {
        signal.signal()
        confirmation.wait()
    }
}
