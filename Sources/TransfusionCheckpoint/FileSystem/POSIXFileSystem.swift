internal import Glibc
internal import TransfusionSupport

/// The operating system's files.
public struct POSIXFileSystem: FileSystem {
    public init() {}

    public func createDirectory(_ path: String) throws(FileSystemError) {
        if mkdir(path, 0o777) != 0 { throw FileSystemError("create the directory", path, errno) }
    }

    public func list(_ directory: String) throws(FileSystemError) -> [String] {
        guard let stream = opendir(directory) else { throw FileSystemError("list", directory, errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw FileSystemError("list", directory, errno) }
                return names
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
    }

    public func create(_ path: String) throws(FileSystemError) -> any WritableFile {
        try POSIXWritableFile(creating: path)
    }

    public func open(_ path: String) throws(FileSystemError) -> any ReadableFile {
        // Without O_NONBLOCK, a FIFO in the place of a file would block for ever.
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        if descriptor < 0 { throw FileSystemError("open", path, errno) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            let code = status.st_mode & S_IFMT == S_IFDIR ? EISDIR : EINVAL
            Glibc.close(descriptor)
            throw FileSystemError("read", path, code)
        }
        return POSIXReadableFile(path, descriptor, Int(status.st_size))
    }

    public func rename(_ path: String, to newPath: String) throws(FileSystemError) {
        if Glibc.rename(path, newPath) != 0 { throw FileSystemError("rename to \(newPath)", path, errno) }
    }

    public func removeFile(_ path: String) throws(FileSystemError) {
        if unlink(path) != 0 { throw FileSystemError("remove", path, errno) }
    }

    public func removeDirectory(_ path: String) throws(FileSystemError) {
        if rmdir(path) != 0 { throw FileSystemError("remove", path, errno) }
    }

    public func synchronize(directory: String) throws(FileSystemError) {
        let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if descriptor < 0 { throw FileSystemError("open", directory, errno) }
        defer { Glibc.close(descriptor) }
        if fsync(descriptor) != 0 { throw FileSystemError("flush", directory, errno) }
    }
}

extension FileSystemError {
    public init(_ operation: String, _ path: String, _ code: Int32) {
        var reason = String(cString: strerror(code))
        if code == ENOSPC, Self.hasNoFilesLeft(Paths.parent(of: path)) {
            reason += " for another file: all inodes of the file system are used, as 'df -i' shows"
        }
        self.init(operation: operation, path: path, code: code, reason: reason)
    }

    private static func hasNoFilesLeft(_ directory: String) -> Bool {
        var status = statvfs()
        return statvfs(directory, &status) == 0 && status.f_files > 0 && status.f_favail == 0
    }

    public var isMissing: Bool { code == ENOENT }
    public var isExisting: Bool { code == EEXIST }
    var isForbidden: Bool { code == EACCES || code == EPERM }
    /// Whether what should be there is not, or is something else; the other errors say nothing about what is there.
    var isAboutContents: Bool { [ENOENT, ENOTDIR, EISDIR, ELOOP, EINVAL].contains(code) }
}

private final class POSIXReadableFile: ReadableFile {
    let byteCount: Int
    private let path: String
    private let descriptor: Int32

    init(_ path: String, _ descriptor: Int32, _ byteCount: Int) {
        self.path = path
        self.descriptor = descriptor
        self.byteCount = byteCount
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    deinit {
        Glibc.close(descriptor)
    }

    /// Several threads read chunks of one file, which the kernel's guess at a sequence does not follow: it is told what
    /// comes, so that the disk has the whole of a large read to work on at once.
    private static let announcedBytes = 1 << 20

    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileSystemError) -> Int {
        if bytes.count >= Self.announcedBytes {
            posix_fadvise(descriptor, off_t(offset), off_t(bytes.count), POSIX_FADV_WILLNEED)
        }
        while true {
            let count = pread(descriptor, bytes.baseAddress, bytes.count, off_t(offset))
            if count >= 0 { return count }
            if errno != EINTR { throw FileSystemError("read", path, errno) }
        }
    }
}
