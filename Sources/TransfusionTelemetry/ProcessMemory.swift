internal import Foundation

/// The memory of this process, as the kernel counts it.
public enum ProcessMemory {
    /// Bytes in memory now; 0 where the kernel does not say.
    public static var residentBytes: Int { sizes[1] }

    /// What the limits of address space and of data (`ulimit -v` and `-d`) leave; nil without limits.
    public static var roomBytes: Int? {
        let sizes = sizes
        let rooms = [(RLIMIT_AS, sizes[0]), (RLIMIT_DATA, sizes[5])].compactMap { resource, used -> Int? in
            var limit = rlimit()
            guard getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0, limit.rlim_cur < Int64.max else {
                return nil
            }
            return max(0, Int(limit.rlim_cur) - used)
        }
        return rooms.min()
    }

    /// The numbers of `statm`, in bytes: all, resident, shared, text, none, data, none; zeros where the kernel does not say.
    private static var sizes: [Int] {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        let pages = text.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        return pages.count == 7 ? pages.map { $0 * sysconf(Int32(_SC_PAGESIZE)) } : Array(repeating: 0, count: 7)
    }

    /// The most bytes in memory at any time; 0 where the kernel does not say.
    public static var peakBytes: Int { bytes("VmHWM:", in: "/proc/self/status") }

    /// Bytes of the resident shared memory that other processes count as theirs too.
    public static var sharedBytesOfOthers: Int {
        let share = bytes("Pss_Shmem:", in: "/proc/self/smaps_rollup")
        // Nothing is said of a kernel that does not tell shares.
        return share > 0 ? max(0, bytes("RssShmem:", in: "/proc/self/status") - share) : 0
    }

    /// What all processes of this host, or of this one's control group if that has less, may have together; nil where
    /// the kernel does not say.
    public static var limitBytes: Int? {
        let groups = (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? ""
        var limits = [bytes("MemTotal:", in: "/proc/meminfo")].filter { $0 > 0 }
        for line in groups.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3, fields[1].isEmpty || fields[1].split(separator: ",").contains("memory") else {
                continue
            }
            let isUnified = fields[1].isEmpty
            var path = isUnified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"
            let name = isUnified ? "memory.max" : "memory.limit_in_bytes"
            // The limit of a group holds for those inside it too. In a container the outer names may not be there.
            for part in [Substring()] + fields[2].split(separator: "/") {
                path += part.isEmpty ? "" : "/\(part)"
                let text = try? String(contentsOfFile: "\(path)/\(name)", encoding: .utf8)
                if let limit = text.flatMap({ Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }) {
                    limits.append(limit)
                }
            }
        }
        return limits.min()
    }

    private static func bytes(_ name: String, in file: String) -> Int {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else { return 0 }
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
        return kibibytes * 1024
    }
}
