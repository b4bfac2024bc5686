internal import Foundation
internal import Synchronization

/// A lock that a process holds through a file. The kernel gives it back with the process, however that ends.
///
/// On a network file system it holds for all hosts as far as the mount has locks: NFS 4 has them, NFS 3 with its lock
/// daemon, Lustre with the option `flock`.
public final class FileLock: Sendable {
    public let path: String
    /// Which file it is: one of the same name that was made later is another.
    public let file: FileIdentity
    private let descriptor: Mutex<Int32>

    private init(_ path: String, _ descriptor: Int32) throws(FileFailure) {
        self.path = path
        self.descriptor = Mutex(descriptor)
        file = try FileIdentity(descriptor: descriptor, path)
    }

    deinit {
        release()
    }

    /// Takes the lock, and makes its file when there is none.
    /// - Returns: Keep it; the lock goes with it. nil when another process holds it.
    /// - Throws: `FileFailure` when it cannot be known, as on a file system that has no locks.
    public static func take(_ path: String) throws(FileFailure) -> FileLock? {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileFailure("open", path) }
        let error = lock(descriptor)
        if error == 0 { return try FileLock(path, descriptor) }
        close(descriptor)
        guard error == EWOULDBLOCK else {
            errno = error
            throw FileFailure("lock", path)
        }
        return nil
    }

    /// Locks an open file or directory for this process alone.
    ///
    /// Who only looks whether it is taken holds it for a moment, too, so it is tried for a fifth of a second.
    /// - Returns: 0, or the error: `EWOULDBLOCK` when another process holds the lock.
    public static func lock(_ descriptor: Int32) -> Int32 {
        var error = EWOULDBLOCK
        for _ in 0..<20 {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return 0 }
            error = errno
            guard error == EWOULDBLOCK || error == EINTR else { return error }
            usleep(10_000)
        }
        return EWOULDBLOCK
    }

    /// The file of a lock that another process holds, for one who knows that it is not there any more.
    public static func withoutHolding(_ path: String) throws(FileFailure) -> FileLock {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileFailure("open", path) }
        return try FileLock(path, descriptor)
    }

    /// Whether a process holds the lock now.
    public static func isTaken(_ path: String) -> Bool {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
    }

    /// Writes into the file of the lock, for those who find it taken.
    public func write(_ note: some Collection<UInt8>) throws(FileFailure) {
        let bytes = Array(note)
        let isWritten = descriptor.withLock { descriptor in
            pwrite(descriptor, bytes, bytes.count, 0) == bytes.count && ftruncate(descriptor, off_t(bytes.count)) == 0
                && fsync(descriptor) == 0
        }
        guard isWritten else { throw FileFailure("write", path) }
    }

    /// Gives the lock back.
    public func release() {
        descriptor.withLock { descriptor in
            if descriptor >= 0 { close(descriptor) }
            descriptor = -1
        }
    }
}
