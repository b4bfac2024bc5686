internal import Glibc

/// The processor time that control groups leave to this process: the quota of its container, mostly.
///
/// A thread more than that is no help: the kernel stops all of them for the rest of each period.
enum ProcessorQuota {
    /// How many processors' time it is, the least of its group and all groups around it; nil without a bound.
    /// - Parameter root: What stands before every path, for a tree of files that is like those of the kernel.
    static func processors(root: String = "") -> Double? {
        let groups = lines(root + "/proc/self/cgroup").map { fields($0, by: ":", atMost: 3) }.filter { $0.count == 3 }
        return mounts(root).compactMap { mount -> Double? in
            let group = groups.first {
                mount.isUnified ? $0[1].isEmpty : fields($0[1], by: ",").contains("cpu")
            }
            return group.flatMap { quota(of: $0[2], in: mount, root) }
        }.min()
    }

    private struct Mount {
        let point: String
        /// The group that the mount shows as its top.
        let top: String
        /// Whether it is of the second version.
        let isUnified: Bool
    }

    private static func mounts(_ root: String) -> [Mount] {
        lines(root + "/proc/self/mountinfo").compactMap { line in
            let words = fields(line, by: " ")
            guard let dash = words.firstIndex(of: "-"), dash >= 6, words.count > dash + 3 else { return nil }
            let type = words[dash + 1], options = fields(words[dash + 3], by: ",")
            guard type == "cgroup2" || type == "cgroup" && options.contains("cpu") else { return nil }
            return Mount(point: words[4], top: words[3], isUnified: type == "cgroup2")
        }
    }

    /// The least quota on the way from the top of a mount to a group.
    private static func quota(of group: String, in mount: Mount, _ root: String) -> Double? {
        let top = parts(mount.top), all = parts(group)
        // Of a group that lies elsewhere, as in a container that sees its own only, the top of the mount is what binds.
        let isBelow = all.starts(with: top) && !all.contains("..")
        var path = root + mount.point
        var quotas = [quota(at: path, mount.isUnified)]
        for part in isBelow ? all.dropFirst(top.count) : [] {
            path += "/" + part
            quotas.append(quota(at: path, mount.isUnified))
        }
        return quotas.compactMap(\.self).min()
    }

    private static func quota(at path: String, _ isUnified: Bool) -> Double? {
        let numbers =
            isUnified
            ? lines(path + "/cpu.max").first.map { fields($0, by: " ") } ?? []
            : [lines(path + "/cpu.cfs_quota_us").first, lines(path + "/cpu.cfs_period_us").first].compactMap(\.self)
        // Without a bound the first is "max" or -1.
        guard numbers.count == 2, let time = Double(numbers[0]), let period = Double(numbers[1]), time > 0, period > 0
        else { return nil }
        return time / period
    }

    private static func parts(_ path: String) -> [String] { fields(path, by: "/").filter { !$0.isEmpty } }

    private static func fields(_ text: String, by separator: Character, atMost count: Int = .max) -> [String] {
        text.split(separator: separator, maxSplits: count - 1, omittingEmptySubsequences: false).map(String.init)
    }

    /// Nothing where there is no such file.
    private static func lines(_ path: String) -> [String] {
        guard let file = fopen(path, "re") else { return [] }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
        return bytes.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    }
}
