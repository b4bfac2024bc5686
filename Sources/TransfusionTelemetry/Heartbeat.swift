public import Foundation
public import TransfusionConfig
public import TransfusionSupport

/// A rank's sign of life: sent to the coordinator, and kept in `heartbeats/rank-NNNNN.json`.
public struct Heartbeat: Sendable, Codable, Equatable {
    public var rank: Int
    public var host: String
    public var pid: Int32
    /// The transfusion that the rank is of; nil when that is older than 0.3.
    public var version: String? = ProductVersion.full
    /// Steps done.
    public var step: Int
    public var phase: Phase
    /// How long the rank has been in this phase.
    public var phaseSeconds: Double
    /// The collective that the rank is in, if it is in one, as in "end of backward".
    public var collective: String?
    /// The group of ranks that the collective is of: "world", "data" or "tensor".
    public var collectiveGroup: String?
    /// How long the rank has been in the collective.
    public var collectiveSeconds: Double?
    /// Seconds of computation in a step: the mean of the last steps.
    public var computeSeconds = 0.0
    /// Seconds of waiting for other ranks in a step: the mean of the last steps.
    public var waitSeconds = 0.0
    /// When this was written, in seconds since 1970.
    public var time: Double
    public var memoryBytes: Int
    /// What the limits of the process (`ulimit -v` and `-d`) leave of address space; nil without limits.
    public var memoryRoomBytes: Int?
    /// When this was written, on a clock that nobody sets.
    public var mark: ClockMark? = ClockMark.now
    /// What the rank waits for, as long as it cannot go on without.
    public var waitsFor: FailureRecord?
    /// Why the rank has ended, if it has failed.
    public var failure: CommandFailure?
    /// The saves that failed one after the other; nil when the last one succeeded, or there was none.
    public var failedSaves: FailedSaves?

    public struct FailedSaves: Sendable, Codable, Equatable {
        public var count: Int
        /// The step of the last one.
        public var step: Int
        /// Why the last one failed: one line.
        public var reason: String

        public init(count: Int, step: Int, reason: String) {
            self.count = count
            self.step = step
            self.reason = reason
        }
    }

    public init(
        rank: Int, host: String, pid: Int32, step: Int, phase: Phase, phaseSeconds: Double, time: Double,
        memoryBytes: Int
    ) {
        self.rank = rank
        self.host = host
        self.pid = pid
        self.step = step
        self.phase = phase
        self.phaseSeconds = phaseSeconds
        self.time = time
        self.memoryBytes = memoryBytes
    }

    private enum CodingKeys: String, CodingKey {
        case rank, host, pid, version, step, phase, time, mark, collective, failure
        case phaseSeconds = "phase_seconds"
        case collectiveGroup = "collective_group"
        case collectiveSeconds = "collective_seconds"
        case computeSeconds = "compute_seconds"
        case waitSeconds = "wait_seconds"
        case memoryBytes = "memory_bytes"
        case memoryRoomBytes = "memory_room_bytes"
        case waitsFor = "waits_for"
        case failedSaves = "failed_saves"
    }

    /// As JSON on one line.
    public func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return try encoder.encode(self)
    }

    /// Reads what `json` wrote.
    public init(json: Data) throws {
        self = try JSONDecoder().decode(Heartbeat.self, from: json)
    }

    /// The file of a rank in a run's heartbeat directory.
    public static func file(rank: Int, in directory: String) -> String {
        let digits = String(rank)
        return "\(directory)/rank-\(String(repeating: "0", count: max(0, 5 - digits.count)))\(digits).json"
    }

    public static func read(_ path: String) throws(FileFailure) -> Heartbeat {
        do {
            return try Heartbeat(json: Data(contentsOf: URL(filePath: path)))
        } catch {
            throw FileFailure(path, because: "is no heartbeat")
        }
    }

    /// The heartbeat of rank 0 that another process renews, if one does: for file systems on which locks do not hold for
    /// all hosts.
    public static func ofOtherJob(in directory: String) -> Heartbeat? {
        let path = file(rank: 0, in: directory)
        guard let first = try? read(path), first.phase != .finished, first.mayBeOfLivingProcess else { return nil }
        // Files are renewed every two seconds. The number may belong to somebody else by now, as in a container that was
        // started again, and of another host nothing else can be seen; its clock may be wrong.
        sleep(3)
        guard let second = try? read(path), second.pid == first.pid, second.host == first.host, second != first else {
            return nil
        }
        return second
    }

    private var mayBeOfLivingProcess: Bool {
        guard host == ProcessInfo.processInfo.hostName else { return true }
        guard pid != getpid(), abs(Date().timeIntervalSince1970 - time) < 10,
            let file = FileHandle(forReadingAtPath: "/proc/\(pid)/cmdline")
        else { return false }
        defer { try? file.close() }
        // Of a process that was killed and that nobody has waited for yet, there is nothing to read.
        return (try? file.readToEnd())?.isEmpty == false
    }

    /// All heartbeats in a run's heartbeat directory that can be read, in the order of the ranks.
    public static func readAll(in directory: String) -> [Heartbeat] {
        ranks(in: directory).sorted().compactMap { try? read(file(rank: $0, in: directory)) }
    }

    /// Removes the heartbeats of ranks that a run with `ranks` ranks does not have, left by an earlier start.
    public static func removeStale(in directory: String, ranks: Int) {
        for rank in self.ranks(in: directory) where rank >= ranks { unlink(file(rank: rank, in: directory)) }
    }

    private static func ranks(in directory: String) -> [Int] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.compactMap { name in
            name.hasPrefix("rank-") && name.hasSuffix(".json") ? Int(name.dropFirst(5).dropLast(5)) : nil
        }
    }
}
