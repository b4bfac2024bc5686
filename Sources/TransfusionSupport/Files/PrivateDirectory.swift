internal import Foundation

/// A directory that nobody but this user can look into, for files that hold secrets.
///
/// Whoever can write above it may have made it beforehand, or put another in its place. So it is opened anew for each
/// file, what was opened is looked at, and the file is made in that and in no other.
public struct PrivateDirectory: Sendable {
    public let path: String

    public init(_ path: String) {
        self.path = path
    }

    /// Makes the directory, with those above it as far as they are missing.
    /// - Throws: `FileFailure` when there is one already that others can use, or that is not this user's.
    public func make() throws(FileFailure) {
        try Directories.make(Paths.parent(of: path))
        // A umask may take rights from the user, too.
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw FileFailure("make the directory", path) }
        close(try open())
    }

    /// Whether secrets may be written there now.
    public var isUsable: Bool {
        guard let descriptor = try? open() else { return false }
        close(descriptor)
        return true
    }

    /// Replaces a file of the directory; only the user can read and write it. A reader sees all of it or nothing.
    /// - Parameters:
    ///   - name: Of the file, without a directory.
    ///   - durable: Whether the file must survive the loss of power from the moment that the call returns.
    /// - Throws: `FileFailure`; what the file held before is then still there.
    public func write(_ contents: some Sequence<UInt8>, to name: String, durable: Bool = true) throws(FileFailure) {
        let directory = try open()
        defer { close(directory) }
        // A name that nobody can guess, and that must not be there.
        let temporary = ".\(name).\(String(UInt64.random(in: 0 ... .max), radix: 36))\(Self.suffix)"
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let descriptor = openat(directory, temporary, flags, 0o600)
        let file = "\(path)/\(name)"
        guard descriptor >= 0 else { throw FileFailure("write", file) }
        do throws(FileFailure) {
            defer { close(descriptor) }
            try AtomicFile.writeAll(Array(contents), to: descriptor, file)
            if durable, fsync(descriptor) != 0 { throw FileFailure("write", file) }
            guard renameat(directory, temporary, directory, name) == 0 else { throw FileFailure("write", file) }
        } catch {
            unlinkat(directory, temporary, 0)
            throw error
        }
        if durable, fsync(directory) != 0 { throw FileFailure("write", file) }
    }

    /// Removes what writers have left that were killed. To be called when nobody else writes.
    public func removeLeftovers() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        where name.hasPrefix(".") && name.hasSuffix(Self.suffix) {
            unlink("\(path)/\(name)")
        }
    }

    private static let suffix = ".secret-tmp"

    /// - Returns: A descriptor of the directory, which is this user's alone.
    func open() throws(FileFailure) -> Int32 {
        let descriptor = Foundation.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            // A link itself, or what is no directory.
            if errno == ELOOP || errno == ENOTDIR {
                throw FileFailure(path, because: "is no directory of its own; secrets lie there: remove it")
            }
            throw FileFailure("open the directory", path)
        }
        do throws(FileFailure) {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw FileFailure("look at", path) }
            guard status.st_uid == geteuid() else {
                throw FileFailure(
                    path, because: "belongs to user \(status.st_uid), who could read the secrets in it; remove it")
            }
            guard status.st_mode & 0o077 == 0 else {
                let mode = String(status.st_mode & 0o7777, radix: 8)
                throw FileFailure(
                    path,
                    because:
                        "is open to other users (mode \(mode)), and secrets lie in it; remove it, or look at what is "
                        + "in it and then 'chmod 700' it")
            }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }
}
