internal import Foundation
internal import Synchronization
internal import TransfusionTelemetry

/// The processes of this host, as /proc shows them.
///
/// The processes of a launch are known by a variable in their environment: it is inherited by everything that they
/// start, and no process group or session that they make hides them.
///
/// A look may fail, as when this process or the host has no descriptors left. What cannot be seen is not gone.
enum ProcessTable {
    /// What a look at a process has shown.
    enum Look: Equatable {
        case alive
        /// There is none, or it has ended.
        case gone
        /// The look failed.
        case unknown
    }

    /// What a look for the processes of a run has shown.
    struct Survey: Equatable {
        var processes: [Int32] = []
        /// Why there may be others; nil when all were seen.
        var obstacle: String?

        /// Whether none is left for sure.
        var provesNone: Bool { processes.isEmpty && obstacle == nil }
    }

    /// Looks for the processes of all launches of a run that still run, mpirun included.
    /// - Parameter run: `SupervisorState.identity`.
    static func survey(ofRun run: String) -> Survey {
        let mark = Data("\(HeartbeatEndpoint.launchVariable)=\(run).".utf8)
        var survey = Survey()
        guard let directory = opendir("/proc") else { return Survey(obstacle: reason("/proc", errno)) }
        defer { closedir(directory) }
        errno = 0
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let pid = Int32(name), pid != getpid() {
                switch environment(of: pid) {
                case .success(let environment):
                    if environment.range(of: mark) != nil { survey.processes.append(pid) }
                // Ended meanwhile; or what the kernel shows nobody but its owner, and mpirun and ranks have ours.
                case .failure(let error) where [ENOENT, ESRCH, EACCES, EPERM].contains(error.number): break
                case .failure(let error): survey.obstacle = reason("/proc/\(pid)/environ", error.number)
                }
            }
            errno = 0
        }
        if errno != 0 { survey.obstacle = reason("/proc", errno) }
        return survey
    }

    /// Whether a process exists and has not ended.
    static func look(at pid: Int32) -> Look {
        // Without a descriptor, as there may be none.
        if kill(pid, 0) != 0, errno == ESRCH { return .gone }
        return switch stateOrError(of: pid) {
        case .success(let state): state == "Z" || state == "X" ? .gone : .alive
        case .failure(let error): [ENOENT, ESRCH].contains(error.number) ? .gone : .unknown
        }
    }

    /// The kernel's letter for what a process does: "T" stopped, "D" waiting for a device, "Z" ended, and others; nil when
    /// there is none, or the look failed.
    static func state(of pid: Int32) -> Character? { try? stateOrError(of: pid).get() }

    private static func stateOrError(of pid: Int32) -> Result<Character, SystemError> {
        // Asked several times a second for every rank of this host: without anything that takes memory.
        let descriptor = open("/proc/\(pid)/stat", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return .failure(SystemError(number: errno)) }
        defer { close(descriptor) }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { buffer in
            let count = Foundation.read(descriptor, buffer.baseAddress, buffer.count)
            guard count > 0 else { return .failure(SystemError(number: count < 0 ? errno : ESRCH)) }
            // The name of the program stands in parentheses and may hold anything, parentheses too.
            guard let end = buffer[..<count].lastIndex(of: UInt8(ascii: ")")), end + 2 < count else {
                return .failure(SystemError(number: EIO))
            }
            return .success(Character(UnicodeScalar(buffer[end + 2])))
        }
    }

    /// Whether one of the signals has been sent to a process that blocks it.
    static func hasPending(_ pid: Int32, _ signals: [Int32]) -> Bool {
        guard let line = text("/proc/\(pid)/status")?.split(separator: "\n").first(where: { $0.hasPrefix("ShdPnd:") }),
            let pending = line.split(whereSeparator: \.isWhitespace).last.flatMap({ UInt64($0, radix: 16) })
        else { return false }
        return signals.contains { pending & 1 << UInt64($0 - 1) != 0 }
    }

    /// Sends a signal; a process that has gone meanwhile is no error.
    static func signal(_ pids: [Int32], _ number: Int32) {
        for pid in pids { kill(pid, number) }
    }

    /// How many processes of this host the kernel has ended for want of memory, as far as could be seen so far.
    static var outOfMemoryKills: Int {
        let line = text("/proc/vmstat")?.split(separator: "\n").first { $0.hasPrefix("oom_kill ") }
        let count = line.flatMap { Int($0.dropFirst("oom_kill ".count)) }
        return lastMemoryKills.withLock { last in
            last = count ?? last
            return last
        }
    }

    private static let lastMemoryKills = Mutex(0)

    private struct SystemError: Error {
        let number: Int32
    }

    private static func reason(_ path: String, _ number: Int32) -> String {
        "\(path) cannot be read: \(String(cString: strerror(number)))"
    }

    private static func environment(of pid: Int32) -> Result<Data, SystemError> { contents("/proc/\(pid)/environ") }

    private static func text(_ path: String) -> String? {
        (try? contents(path).get()).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Files of /proc have no size to ask for.
    private static func contents(_ path: String) -> Result<Data, SystemError> {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return .failure(SystemError(number: errno)) }
        defer { close(descriptor) }
        var data = Data()
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16 << 10) { buffer in
            while true {
                let count = Foundation.read(descriptor, buffer.baseAddress, buffer.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { return .failure(SystemError(number: errno)) }
                guard count > 0 else { return .success(data) }
                data.append(contentsOf: buffer[..<count])
            }
        }
    }
}
