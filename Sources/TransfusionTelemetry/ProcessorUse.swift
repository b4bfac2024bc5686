internal import Foundation

/// What the processors of this host have done, and what this process has had of them, in seconds since some time in the
/// past. Two of them say what went on in between.
public struct ProcessorUse: Sendable, Equatable {
    /// Of some processors: at work, for whomever; time that other guests of the machine took from it counts too.
    public var busySeconds: Double
    /// At work or not.
    public var allSeconds: Double
    /// Of this process and its children that have ended.
    public var ownSeconds: Double

    public init(busySeconds: Double, allSeconds: Double, ownSeconds: Double) {
        self.busySeconds = busySeconds
        self.allSeconds = allSeconds
        self.ownSeconds = ownSeconds
    }

    /// - Parameter processors: The processors whose use counts. With none, and where the kernel says nothing of them, only
    ///   the process's own time is known.
    public init(of processors: Set<Int>) {
        self.init(
            statistics: (try? String(contentsOfFile: "/proc/stat", encoding: .utf8)) ?? "", processors: processors,
            ticksPerSecond: Double(sysconf(Int32(_SC_CLK_TCK))), ownSeconds: Self.ownSeconds)
    }

    /// - Parameter statistics: The contents of `/proc/stat`.
    init(statistics: String, processors: Set<Int>, ticksPerSecond: Double, ownSeconds: Double) {
        var busy = 0, all = 0
        for line in statistics.split(separator: "\n") where line.hasPrefix("cpu") {
            let fields = line.split(separator: " ")
            guard let number = Int(fields[0].dropFirst(3)), processors.contains(number) else { continue }
            // user nice system idle iowait irq softirq steal; guests are part of user and nice.
            let ticks = fields.dropFirst().prefix(8).map { Int($0) ?? 0 }
            guard ticks.count == 8 else { continue }
            all += ticks.reduce(0, +)
            busy += ticks.reduce(0, +) - ticks[3] - ticks[4]
        }
        self.init(
            busySeconds: Double(busy) / ticksPerSecond, allSeconds: Double(all) / ticksPerSecond, ownSeconds: ownSeconds
        )
    }

    private static var ownSeconds: Double {
        [RUSAGE_SELF, RUSAGE_CHILDREN].reduce(0) { sum, who in
            var usage = rusage()
            getrusage(__rusage_who_t(who.rawValue), &usage)
            let times = [usage.ru_utime, usage.ru_stime]
            return times.reduce(sum) { $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6 }
        }
    }

    /// What went on since an earlier time.
    public static func - (later: ProcessorUse, earlier: ProcessorUse) -> ProcessorUse {
        ProcessorUse(
            busySeconds: later.busySeconds - earlier.busySeconds, allSeconds: later.allSeconds - earlier.allSeconds,
            ownSeconds: later.ownSeconds - earlier.ownSeconds)
    }

    /// The share of the processors that others took; nil where the kernel does not say.
    public var othersShare: Double? {
        guard allSeconds > 0 else { return nil }
        return min(1, max(0, (busySeconds - ownSeconds) / allSeconds))
    }

    /// Above this share of others, what is measured is no longer what the machine can do.
    public static let quietShare = 0.05

    /// The processors that this process may run on.
    public static var allowedProcessors: Set<Int> {
        allowedProcessors(status: (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? "")
    }

    /// - Parameter status: The contents of `/proc/self/status`, with a line as `Cpus_allowed_list: 0-3,8`.
    static func allowedProcessors(status: String) -> Set<Int> {
        let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") } ?? ""
        let ranges = line.drop { $0 != ":" }.dropFirst().split(separator: ",")
        return ranges.reduce(into: []) { processors, range in
            let ends = range.split(separator: "-").compactMap { Int($0.trimmingCharacters(in: .whitespaces)) }
            guard let first = ends.first, let last = ends.last, first <= last else { return }
            processors.formUnion(first...last)
        }
    }
}
