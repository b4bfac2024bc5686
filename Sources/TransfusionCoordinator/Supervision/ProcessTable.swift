internal import Foundation
internal import TransfusionTelemetry

/// The processes of this host, as /proc shows them.
///
/// The processes of a launch are known by a variable in their environment: it is inherited by everything that they
/// start, and no process group or session that they make hides them.
enum ProcessTable {
    /// The processes of all launches of a run that still run, mpirun included.
    /// - Parameter run: `SupervisorState.identity`.
    static func processes(ofRun run: String) -> [Int32] {
        let mark = Data("\(HeartbeatEndpoint.launchVariable)=\(run).".utf8)
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.filter { pid in
            pid != getpid() && environment(of: pid)?.range(of: mark) != nil
        }
    }

    /// Whether a process exists and has not ended.
    static func isAlive(_ pid: Int32) -> Bool {
        guard let state = state(of: pid) else { return false }
        return state != "Z" && state != "X"
    }

    /// The kernel's letter for what a process does: "T" stopped, "D" waiting for a device, "Z" ended, and others.
    static func state(of pid: Int32) -> Character? {
        // Asked several times a second for every rank of this host: without anything that takes memory.
        let descriptor = open("/proc/\(pid)/stat", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { buffer in
            let count = Foundation.read(descriptor, buffer.baseAddress, buffer.count)
            // The name of the program stands in parentheses and may hold anything, parentheses too.
            guard count > 0, let end = buffer[..<count].lastIndex(of: UInt8(ascii: ")")), end + 2 < count else {
                return nil
            }
            return Character(UnicodeScalar(buffer[end + 2]))
        }
    }

    /// Whether one of the signals has been sent to a process that blocks it.
    static func hasPending(_ pid: Int32, _ signals: [Int32]) -> Bool {
        guard let line = read("/proc/\(pid)/status")?.split(separator: "\n").first(where: { $0.hasPrefix("ShdPnd:") }),
            let pending = line.split(whereSeparator: \.isWhitespace).last.flatMap({ UInt64($0, radix: 16) })
        else { return false }
        return signals.contains { pending & 1 << UInt64($0 - 1) != 0 }
    }

    /// Sends a signal; a process that has gone meanwhile is no error.
    static func signal(_ pids: [Int32], _ number: Int32) {
        for pid in pids { kill(pid, number) }
    }

    /// How many processes of this host the kernel has ended for want of memory.
    static var outOfMemoryKills: Int {
        let line = read("/proc/vmstat")?.split(separator: "\n").first { $0.hasPrefix("oom_kill ") }
        return line.flatMap { Int($0.dropFirst("oom_kill ".count)) } ?? 0
    }

    private static func read(_ path: String) -> String? {
        // Files of /proc have no size to ask for.
        guard let file = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? file.close() }
        return (try? file.readToEnd()).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func environment(of pid: Int32) -> Data? {
        guard let file = FileHandle(forReadingAtPath: "/proc/\(pid)/environ") else { return nil }
        defer { try? file.close() }
        return try? file.readToEnd()
    }
}
