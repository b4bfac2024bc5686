internal import Foundation
public import TransfusionSupport

/// A directory in which hosts show that they share it: one makes it and keeps a lock in it, the others answer in it.
public final class SharedDirectoryCheck: Sendable {
    public let path: String
    private let mark: String
    private let lock: FileLock

    private static let markName = "mark", lockName = "lock"

    /// - Parameter directory: What should be shared.
    /// - Throws: `FileFailure` when not even this host can write, rename, flush and lock there.
    public init(in directory: String) throws(FileFailure) {
        mark = String(UInt64.random(in: .min ... .max), radix: 16)
        path = "\(directory)/.transfusion-check-\(mark)"
        try Directories.make(path)
        do throws(FileFailure) {
            try AtomicFile.write(mark.utf8, to: "\(path)/\(Self.markName)")
            guard let lock = try FileLock.take("\(path)/\(Self.lockName)") else {
                throw FileFailure(path, because: "a new lock is taken: the file system's locks do not work")
            }
            self.lock = lock
        } catch {
            try? FileManager.default.removeItem(atPath: path)
            throw error
        }
    }

    deinit {
        lock.release()
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Called on a host, with the path that another one has made.
    /// - Returns: What the directory lacks there; nil when that host has to say the rest.
    public static func answer(in path: String, as host: String) -> String? {
        guard let mark = FileManager.default.contents(atPath: "\(path)/\(markName)") else {
            return "is not seen there; mount the shared file system at the same path"
        }
        guard FileLock.isTaken("\(path)/\(lockName)") else {
            return "locks do not hold between hosts; mount it with locks (NFS 4, or Lustre with 'flock')"
        }
        do throws(FileFailure) {
            try AtomicFile.write(Array(mark) + Array(host.utf8), to: "\(path)/\(answerName(host))")
        } catch {
            return error.reason
        }
        return nil
    }

    /// Called where the directory was made, after `answer` on a host.
    public func hasAnswer(of host: String) -> Bool {
        FileManager.default.contents(atPath: "\(path)/\(Self.answerName(host))") == Data((mark + host).utf8)
    }

    private static func answerName(_ host: String) -> String { "answer-\(host)" }
}
