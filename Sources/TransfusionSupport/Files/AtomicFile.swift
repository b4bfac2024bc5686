internal import Foundation

/// Writes of whole files of which a reader, or a machine that comes back after a crash, sees all or nothing.
public enum AtomicFile {
    /// Replaces the file at `path` by `contents`.
    /// - Parameters:
    ///   - mode: Who may read and write the file.
    ///   - durable: Whether the file must survive the loss of power from the moment that the call returns. Without it,
    ///     the file is still never seen half written by other processes.
    /// - Throws: `FileFailure`, which names the path and the cause. What was at `path` before is then still there.
    public static func write(
        _ contents: some Sequence<UInt8>, to path: String, mode: UInt32 = 0o644, durable: Bool = true
    ) throws(FileFailure) {
        // One name a process: a writer that was killed leaves one file, which the next write replaces.
        let temporary = "\(path).\(getpid()).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw FileFailure("write", path) }
        do throws(FileFailure) {
            defer { close(descriptor) }
            try writeAll(Array(contents), to: descriptor, path)
            if durable, fsync(descriptor) != 0 { throw FileFailure("write", path) }
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else {
            let failure = FileFailure("write", path)
            unlink(temporary)
            throw failure
        }
        if durable { try synchronizeDirectory(of: path) }
    }

    /// Makes the names in the directory that holds `path` durable.
    private static func synchronizeDirectory(of path: String) throws(FileFailure) {
        let descriptor = open(Paths.parent(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileFailure("write", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileFailure("write", path) }
    }

    static func writeAll(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws(FileFailure) {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw FileFailure("write", path) }
            written += count
        }
    }
}

/// Why a file could not be used.
public struct FileFailure: RecordedError, Equatable, CustomStringConvertible {
    public let path: String
    /// As in `cannot write: No space left on device`.
    public let reason: String
    /// The `errno` value, where the operating system said no.
    public let code: Int32?

    /// From the error number of the C call that failed last.
    public init(_ action: String, _ path: String) {
        let code = errno
        self.init(path, because: "cannot \(action): " + String(cString: strerror(code)), code: code)
    }

    public init(_ path: String, because reason: String) {
        self.init(path, because: reason, code: nil)
    }

    private init(_ path: String, because reason: String, code: Int32?) {
        self.path = path
        self.reason = reason
        self.code = code
    }

    public var record: FailureRecord? { code.map { FailureRecord(errno: $0, file: path) } }

    public var description: String { "\(path): \(reason)" }
}
