internal import Glibc
internal import TransfusionSupport

/// Whole small files, read with a limit and written so that a crash leaves the old contents or the new ones.
public enum Files {
    /// - Throws: `DataError` when the file cannot be read or is longer than `limit` bytes.
    public static func read(_ path: String, limit: Int) throws(DataError) -> [UInt8] {
        let file = try MappedFile(path)
        defer { withExtendedLifetime(file) {} }
        guard file.bytes.count <= limit else {
            throw DataError(path, "has \(file.bytes.count) bytes, more than the \(limit) that are read")
        }
        return [UInt8](file.bytes)
    }

    /// The text of a UTF-8 file. A byte order mark, which editors and spreadsheets put before it, is no part of it.
    public static func readText(_ path: String, limit: Int = 1 << 30) throws(DataError) -> String {
        let bytes = try read(path, limit: limit)
        guard
            let text = String(
                validating: bytes.dropFirst(bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0), as: UTF8.self)
        else {
            throw DataError(path, "is not UTF-8 text")
        }
        return text
    }

    /// Writes a temporary file, brings it to the disk and renames it to `path`.
    public static func write(_ bytes: [UInt8], to path: String) throws(DataError) {
        let temporary = path + ".tmp-\(getpid())"
        do throws(DataError) {
            let sink = try FileSink(temporary)
            try sink.write(bytes)
            try sink.close()
            try rename(temporary, to: path)
        } catch {
            unlink(temporary)
            throw error
        }
    }

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// What tells a file from a later one of its name: its size and when it was written. Empty when it cannot be looked at.
    public static func stamp(_ path: String) -> [UInt8] {
        var status = stat()
        guard stat(path, &status) == 0 else { return [] }
        return [Int64(status.st_size), Int64(status.st_mtim.tv_sec), Int64(status.st_mtim.tv_nsec)]
            .withUnsafeBytes { [UInt8]($0) }
    }

    /// Whether the name is in use, if only by a link that leads nowhere.
    static func isTaken(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// Whether there is certainly no such file; what may not be looked at can be there.
    static func isMissing(_ path: String) -> Bool { !exists(path) && [ENOENT, ENOTDIR].contains(errno) }

    enum EntryKind {
        case directory
        case other
    }

    /// What is in a directory, without `.` and `..`; nothing when it cannot be read. A link to a directory is no directory,
    /// so that nobody walks in circles.
    static func entries(in directory: String) -> [(name: String, kind: EntryKind)] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var entries: [(String, EntryKind)] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            var isDirectory = entry.pointee.d_type == UInt8(DT_DIR)
            if entry.pointee.d_type == UInt8(DT_UNKNOWN) {
                var status = stat()
                isDirectory = lstat(directory + "/" + name, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
            }
            entries.append((name, isDirectory ? .directory : .other))
        }
        return entries
    }

    static func rename(_ from: String, to destination: String) throws(DataError) {
        guard Glibc.rename(from, destination) == 0 else {
            throw DataError(destination, "cannot be written: \(String(cString: strerror(errno)))")
        }
        synchronize(directory: Paths.parent(of: destination))
    }

    /// Brings a directory's entries to the disk. File systems that cannot do so keep their own promises.
    static func synchronize(directory: String) {
        let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}

/// A new file that is written from front to back through one buffer.
final class FileSink {
    let path: String
    private(set) var count = 0
    private var descriptor: Int32
    private var buffer: [UInt8] = []

    init(_ path: String) throws(DataError) {
        self.path = path
        descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else {
            throw DataError(path, "cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    /// Goes on with a file behind its first bytes; what follows on them is cut off.
    init(_ path: String, continuingAt count: Int) throws(DataError) {
        self.path = path
        self.count = count
        descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0, status.st_size >= off_t(count),
            ftruncate(descriptor, off_t(count)) == 0, lseek(descriptor, 0, SEEK_END) == off_t(count)
        else {
            let reason = descriptor < 0 ? String(cString: strerror(errno)) : "it has lost what was written before"
            throw DataError(path, "cannot be gone on with: \(reason); remove its directory to begin anew")
        }
    }

    deinit {
        if descriptor >= 0 { Glibc.close(descriptor) }
    }

    func write(_ bytes: [UInt8]) throws(DataError) {
        count += bytes.count
        buffer.append(contentsOf: bytes)
        if buffer.count >= 1 << 20 { try flush() }
    }

    func write<Integer: FixedWidthInteger>(_ value: Integer) throws(DataError) {
        count += MemoryLayout<Integer>.size
        withUnsafeBytes(of: value.littleEndian) { buffer.append(contentsOf: $0) }
        if buffer.count >= 1 << 20 { try flush() }
    }

    /// Brings everything to the disk.
    func commit() throws(DataError) {
        try flush()
        guard fsync(descriptor) == 0 else {
            throw DataError(path, "cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    /// Brings everything to the disk and closes the file.
    func close() throws(DataError) {
        try commit()
        Glibc.close(descriptor)
        descriptor = -1
    }

    private func flush() throws(DataError) {
        var written = 0
        while written < buffer.count {
            let count = buffer.withUnsafeBytes { bytes in
                Glibc.write(descriptor, bytes.baseAddress! + written, bytes.count - written)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw DataError(path, "cannot be written: \(String(cString: strerror(errno)))")
            }
            written += count
        }
        buffer.removeAll(keepingCapacity: true)
    }
}
