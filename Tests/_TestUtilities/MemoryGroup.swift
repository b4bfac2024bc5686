internal import Foundation

/// A control group whose processes the kernel ends when they take more memory; removed with the value.
public final class MemoryGroup {
    private let directory: String

    /// Whether this machine lets the tests make one.
    public static let isPossible = (try? MemoryGroup(bytes: 1 << 30)) != nil

    /// - Parameter bytes: What its processes may take from when they join; what they have counts for nothing.
    public init(bytes: Int) throws {
        let name = "transfusion-\(getpid())-\(UUID().uuidString.prefix(8))"
        // The first version of control groups, with a tree for each resource, or the second.
        let first = "/sys/fs/cgroup/memory", second = "/sys/fs/cgroup"
        let isFirst = FileManager.default.fileExists(atPath: first)
        directory = "\(isFirst ? first : second)/\(name)"
        guard mkdir(directory, 0o755) == 0 else { throw CocoaError(.fileWriteNoPermission) }
        try write("\(bytes)", isFirst ? "memory.limit_in_bytes" : "memory.max")
    }

    deinit { rmdir(directory) }

    public func add(_ pid: Int32) throws { try write("\(pid)", "cgroup.procs") }

    private func write(_ text: String, _ file: String) throws {
        // Without O_CREAT: what the kernel does not offer is not made.
        guard let handle = FileHandle(forWritingAtPath: "\(directory)/\(file)") else {
            throw CocoaError(.fileNoSuchFile)
        }
        defer { try? handle.close() }
        try handle.write(contentsOf: Data(text.utf8))
    }
}
