internal import Foundation

/// Which file or directory something is, whatever paths lead to it.
public struct FileIdentity: Sendable, Hashable, Codable {
    private let device: UInt64
    private let number: UInt64

    private init(_ status: stat) {
        device = UInt64(status.st_dev)
        number = UInt64(status.st_ino)
    }

    init(descriptor: Int32, _ path: String) throws(FileFailure) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileFailure("look at", path) }
        self.init(status)
    }

    /// What a path leads to, symbolic links followed; nil when nothing is there.
    /// - Throws: `FileFailure` when that cannot be seen, which says nothing about what is there.
    public init?(at path: String) throws(FileFailure) {
        var status = stat()
        guard stat(path, &status) != 0 else {
            self.init(status)
            return
        }
        guard errno == ENOENT || errno == ENOTDIR || errno == ELOOP else { throw FileFailure("look at", path) }
        return nil
    }

    /// Whether two paths lead to the same file or directory.
    public static func areSame(_ one: String, _ other: String) -> Bool {
        guard let first = try? FileIdentity(at: one), let second = try? FileIdentity(at: other) else { return false }
        return first == second
    }
}
