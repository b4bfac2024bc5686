internal import Foundation
internal import Subprocess
internal import SystemPackage
internal import TransfusionConfig
internal import TransfusionSupport

/// Why mpirun cannot be started, before a rank has done anything.
struct LaunchObstacle: Sendable, Equatable {
    let record: FailureRecord
    /// One sentence for people.
    let reason: String

    init(record: FailureRecord, reason: String) {
        self.record = record
        self.reason = reason
    }

    /// What an error means that was met at a file or a program.
    init(_ problem: String, _ path: String, _ error: any Error) {
        let number = error as? Errno ?? (error as? SubprocessError)?.underlyingError
        // A program has a name only.
        let file = path.contains("/") ? path : nil
        self.init(
            record: number.map { FailureRecord(errno: $0.rawValue, file: file) } ?? FailureRecord(.other, file: file),
            reason: "\(path): \(problem): \(number.map { String(cString: strerror($0.rawValue)) } ?? "\(error)")")
    }

    init(_ failure: FileFailure) {
        self.init(record: failure.record ?? FailureRecord(.other, file: failure.path), reason: "\(failure)")
    }

    var cause: FailureCause {
        let kind: FailureCause.Kind =
            switch record.kind {
            case .noRoom: .noRoom
            case .inputOutput, .noResources: .unavailable
            default: .launch
            }
        let code = record.kind == .wrongUse ? CommandFailure.Code.wrongUse.rawValue : nil
        return FailureCause(kind, exitCode: code, summary: reason, record: record)
    }

    // MARK: Looking before a launch

    /// What stands in the way of a launch that is seen without starting anything.
    static func beforeLaunch(environment: [String: String] = ProcessInfo.processInfo.environment) -> LaunchObstacle? {
        // Where Open MPI looks for it, in this order.
        let names = ["OMPI_MCA_orte_local_tmpdir_base", "OMPI_MCA_orte_tmpdir_base", "TMPDIR", "TEMP", "TMP"]
        let name = names.first { environment[$0]?.isEmpty == false }
        let directory = name.flatMap { environment[$0] } ?? "/tmp"
        var template = Array((directory + "/transfusion-XXXXXX").utf8CString)
        guard mkdtemp(&template) == nil else {
            rmdir(template)
            return nil
        }
        let number = errno
        var record = FailureRecord(errno: number, file: directory)
        if record.kind == .other { record.kind = .wrongUse }
        return LaunchObstacle(
            record: record,
            reason:
                "\(name.map { "\($0)=" } ?? "")\(directory): mpirun cannot make the directory of its session there: "
                + "\(String(cString: strerror(number)))"
                + (record.kind == .wrongUse ? "; set TMPDIR to a directory that can be written" : ""))
    }

    /// Whether what stood in the way of a run still does, as far as a look at the disk can tell.
    /// - Parameters:
    ///   - record: What was in the way.
    ///   - directory: Of the run.
    ///   - bytes: For which there must be room.
    static func remains(_ record: FailureRecord, directory: String, bytes: Int) -> LaunchObstacle? {
        guard record.kind == .noRoom || record.kind == .inputOutput else { return nil }
        var place = record.file.map(Paths.parent) ?? directory
        // A checkpoint that could not be written is gone, and so may be the directory of its own.
        while place.hasPrefix(directory + "/"), access(place, F_OK) != 0 { place = Paths.parent(of: place) }
        var status = statvfs()
        if statvfs(place, &status) == 0, status.f_bavail * UInt(status.f_frsize) < UInt(bytes) {
            return obstacle(ENOSPC, place)
        }
        let path = "\(place)/.transfusion-\(getpid()).tmp"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return obstacle(errno, place) }
        defer {
            close(descriptor)
            unlink(path)
        }
        // A quota shows when room is taken: of a part, as all blocks are written where the file system has no such call.
        let problem = bytes > 0 ? posix_fallocate(descriptor, 0, off_t(min(bytes, largestProbe))) : 0
        if problem == ENOSPC || problem == EDQUOT { return obstacle(problem, place) }
        let page = [UInt8](repeating: 1, count: 4096)
        guard write(descriptor, page, page.count) == page.count, fsync(descriptor) == 0 else {
            return obstacle(errno, place)
        }
        return nil
    }

    private static let largestProbe = 64 << 20

    private static func obstacle(_ number: Int32, _ place: String) -> LaunchObstacle? {
        let record = FailureRecord(errno: number, file: place)
        // Who may not write there, as in a data set of others, learns nothing.
        guard record.kind.prospect == .later else { return nil }
        return LaunchObstacle(
            record: record, reason: "\(place): cannot be written: \(String(cString: strerror(number)))")
    }
}
