internal import Foundation
internal import TransfusionConfig
internal import TransfusionSupport

/// A lock that a process holds through a file, and that goes with the process, however it ends.
enum FileLock {
    /// - Returns: Keep it; the lock goes with it. nil when another process holds it.
    static func take(_ path: String) throws(FileFailure) -> FileHandle? {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileFailure("open", path) }
        // Who only looks whether it is taken holds it for a moment, too.
        for _ in 0..<20 {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 {
                return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
            }
            usleep(10_000)
        }
        close(descriptor)
        return nil
    }

    /// Whether a process holds the lock now.
    static func isTaken(_ path: String) -> Bool {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) != 0
    }
}
