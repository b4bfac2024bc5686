internal import Foundation

/// The memory of this process, as the kernel counts it.
public enum ProcessMemory {
    /// Bytes in memory now; 0 where the kernel does not say.
    public static var residentBytes: Int {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return 0 }
        let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }

    /// The most bytes in memory at any time; 0 where the kernel does not say.
    public static var peakBytes: Int { bytes("VmHWM:", in: "/proc/self/status") }

    /// Bytes of the resident shared memory that other processes count as theirs too.
    public static var sharedBytesOfOthers: Int {
        let share = bytes("Pss_Shmem:", in: "/proc/self/smaps_rollup")
        // Nothing is said of a kernel that does not tell shares.
        return share > 0 ? max(0, bytes("RssShmem:", in: "/proc/self/status") - share) : 0
    }

    private static func bytes(_ name: String, in file: String) -> Int {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else { return 0 }
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
        return kibibytes * 1024
    }
}
