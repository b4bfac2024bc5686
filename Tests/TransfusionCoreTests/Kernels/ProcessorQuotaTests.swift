import Foundation
import Testing
import _TestUtilities

@testable import TransfusionCore

/// The files are like those of the kernel, in containers and outside of them.
@Suite struct ProcessorQuotaTests {
    private let tree: TemporaryDirectory

    init() throws { tree = try TemporaryDirectory() }

    private func write(_ files: [String: String]) throws {
        for (path, text) in files {
            let file = tree.file(path)
            try FileManager.default.createDirectory(
                atPath: URL(fileURLWithPath: file).deletingLastPathComponent().path, withIntermediateDirectories: true)
            try (text + "\n").write(toFile: file, atomically: true, encoding: .utf8)
        }
    }

    private var quota: Double? { ProcessorQuota.processors(root: tree.path) }

    private static let secondVersion =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"

    @Test func theLeastOfAGroupAndThoseAroundItHolds() throws {
        try write([
            "proc/self/cgroup": "0::/machine/pod/run", "proc/self/mountinfo": Self.secondVersion,
            "sys/fs/cgroup/machine/cpu.max": "400000 100000", "sys/fs/cgroup/machine/pod/cpu.max": "75000 50000",
            "sys/fs/cgroup/machine/pod/run/cpu.max": "max 100000",
        ])
        #expect(quota == 1.5)
    }

    @Test func aContainerSeesItsOwnGroupAsTheTop() throws {
        try write([
            "proc/self/cgroup": "0::/", "proc/self/mountinfo": Self.secondVersion,
            "sys/fs/cgroup/cpu.max": "100000 100000",
        ])
        #expect(quota == 1)
    }

    @Test(arguments: ["0::/../outside", "0::/docker/0123"]) func aGroupThatLiesElsewhereIsBoundByTheTop(_ group: String)
        throws
    {
        try write([
            "proc/self/cgroup": group, "proc/self/mountinfo": Self.secondVersion,
            "sys/fs/cgroup/cpu.max": "250000 100000",
        ])
        #expect(quota == 2.5)
    }

    @Test func readsTheFirstVersion() throws {
        try write([
            "proc/self/cgroup": "5:memory:/docker/01\n4:cpu,cpuacct:/docker/01/a\n0::/",
            "proc/self/mountinfo": """
            31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
            32 31 0:29 /docker/01 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
            33 31 0:30 /docker/01 /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
            """,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "150000",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "50000",
        ])
        #expect(quota == 3)
    }

    @Test func withoutABoundThereIsNone() throws {
        #expect(quota == nil, "no files at all")
        try write([
            "proc/self/cgroup": "0::/a", "proc/self/mountinfo": Self.secondVersion,
            "sys/fs/cgroup/a/cpu.max": "max 100000",
            "sys/fs/cgroup/cpu.max": "rubbish",
        ])
        #expect(quota == nil)
    }

    @Test func aPartOfAProcessorIsNoneAndOneIsTheLeast() {
        let allowed = ThreadPool.availableCPUCount(quota: nil)
        #expect(ThreadPool.availableCPUCount(quota: 0.3) == 1)
        #expect(ThreadPool.availableCPUCount(quota: 1.9) == 1)
        #expect(ThreadPool.availableCPUCount(quota: 1e9) == allowed)
        #expect(ThreadPool.availableCPUCount(quota: 2.5) == min(2, allowed))
    }

    /// The real thing, where this machine lets the tests make a group.
    @Test(.enabled(if: ProcessorGroup.isPossible)) func theKernelsOwnFilesAreUnderstood() throws {
        let group = try ProcessorGroup(processors: 1)
        let join = "echo $$ > \(group.processes) && exec cat /proc/self/cgroup"
        let cgroup = try Command(path: "/bin/sh").run("-c", join)
        #expect(cgroup.status == 0, "\(cgroup.errors)")
        // As the process in the group sees it, from here: only its own group differs.
        let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
        try write(["proc/self/cgroup": cgroup.output, "proc/self/mountinfo": mounts])
        try FileManager.default.createSymbolicLink(atPath: tree.file("sys"), withDestinationPath: "/sys")
        #expect(try #require(quota) <= 1)
    }
}
