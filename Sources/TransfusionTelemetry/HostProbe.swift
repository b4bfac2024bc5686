internal import Foundation
internal import TransfusionCore

/// What `tf-coord hosts --check` wants to know of a host.
public struct HostProbe: Codable, Sendable, Equatable {
    public var report: HostReport
    /// When the probe began and ended by the host's clock, in seconds since 1970.
    public var begin: Double
    public var end: Double
    /// Floating-point operations in a second that products of f32 matrices reach on all processors.
    public var matrixRate: Double
    /// Free bytes for the messages between the ranks of the host; nil when nothing can be written there.
    public var sharedMemoryBytes: Int?
    /// What the shared directory lacks, as far as this host can tell.
    public var directoryProblem: String?

    public init(
        report: HostReport, begin: Double, end: Double, matrixRate: Double, sharedMemoryBytes: Int?,
        directoryProblem: String?
    ) {
        self.report = report
        self.begin = begin
        self.end = end
        self.matrixRate = matrixRate
        self.sharedMemoryBytes = sharedMemoryBytes
        self.directoryProblem = directoryProblem
    }

    /// Probes this host.
    /// - Parameters:
    ///   - directory: That of a `SharedDirectoryCheck`.
    ///   - name: What this host is called in the list of hosts.
    public static func measure(_ report: HostReport, directory: String, as name: String) -> HostProbe {
        let begin = Date().timeIntervalSince1970
        let problem = SharedDirectoryCheck.answer(in: directory, as: name)
        let context = Context(pool: ThreadPool(threads: report.processors), type: .f32)
        let rate = context.measuredPeakRate()
        return HostProbe(
            report: report, begin: begin, end: Date().timeIntervalSince1970, matrixRate: rate,
            sharedMemoryBytes: freeSharedMemory, directoryProblem: problem)
    }

    private static var freeSharedMemory: Int? {
        var path = Array("/dev/shm/transfusion-check-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        guard descriptor >= 0 else { return nil }
        defer {
            close(descriptor)
            unlink(&path)
        }
        var status = statvfs()
        // A page can be had, too.
        guard posix_fallocate(descriptor, 0, 4096) == 0, fstatvfs(descriptor, &status) == 0 else { return nil }
        return Int(status.f_bavail) * Int(status.f_frsize)
    }
}
