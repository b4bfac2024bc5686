internal import Foundation

/// A control group with a quota of processor time; removed with the value.
public final class ProcessorGroup {
    private let directory: String

    /// Whether this machine lets the tests make one.
    public static let isPossible = (try? ProcessorGroup(processors: 1)) != nil

    /// Who writes its number into this file joins the group, with all that it starts.
    public var processes: String { "\(directory)/cgroup.procs" }

    public init(processors: Double) throws {
        let name = "transfusion-\(getpid())-\(UUID().uuidString.prefix(8))"
        // The first version of control groups, with a tree for each resource, or the second.
        let first = "/sys/fs/cgroup/cpu", second = "/sys/fs/cgroup"
        let isFirst = FileManager.default.fileExists(atPath: first)
        directory = "\(isFirst ? first : second)/\(name)"
        guard mkdir(directory, 0o755) == 0 else { throw CocoaError(.fileWriteNoPermission) }
        let time = Int(processors * 100_000)
        try write(isFirst ? "\(time)" : "\(time) 100000", isFirst ? "cpu.cfs_quota_us" : "cpu.max")
    }

    deinit { rmdir(directory) }

    private func write(_ text: String, _ file: String) throws {
        // Without O_CREAT: what the kernel does not offer is not made.
        guard let handle = FileHandle(forWritingAtPath: "\(directory)/\(file)") else {
            rmdir(directory)
            throw CocoaError(.fileNoSuchFile)
        }
        defer { try? handle.close() }
        try handle.write(contentsOf: Data(text.utf8))
    }
}
