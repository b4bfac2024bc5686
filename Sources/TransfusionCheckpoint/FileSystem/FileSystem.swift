import TransfusionSupport

/// The few file operations that checkpoints are made of.
///
/// Everything that writes or reads a checkpoint goes through this protocol, so that tests can fail, kill or lose power
/// at every single operation. Paths are plain strings with `/`. Calls may come from several threads.
public protocol FileSystem: Sendable {
    /// Makes one directory; an existing one is an error (`EEXIST`).
    func createDirectory(_ path: String) throws(FileSystemError)
    /// The names in a directory, in no particular order.
    func list(_ directory: String) throws(FileSystemError) -> [String]
    /// Creates a file that did not exist before.
    func create(_ path: String) throws(FileSystemError) -> any WritableFile
    /// Opens a regular file.
    func open(_ path: String) throws(FileSystemError) -> any ReadableFile
    /// Renames a file (replacing another) or a directory. Durable only after `synchronize` of the parent.
    func rename(_ path: String, to newPath: String) throws(FileSystemError)
    func removeFile(_ path: String) throws(FileSystemError)
    /// Removes an empty directory.
    func removeDirectory(_ path: String) throws(FileSystemError)
    /// Makes the names in a directory durable.
    func synchronize(directory: String) throws(FileSystemError)
}

/// A file that is being written from its beginning to its end, by one thread at a time.
public protocol WritableFile: AnyObject {
    /// Appends at least one and at most all of the bytes, and returns how many.
    func append(_ bytes: UnsafeRawBufferPointer) throws(FileSystemError) -> Int
    /// Makes the contents durable.
    func synchronize() throws(FileSystemError)
    /// Closes the file. Nothing may be called afterwards.
    func close() throws(FileSystemError)
}

/// An open file that several threads may read.
public protocol ReadableFile: AnyObject, Sendable {
    /// The size when the file was opened.
    var byteCount: Int { get }
    /// Reads at least one and at most all of the wanted bytes; 0 at the end of the file.
    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileSystemError) -> Int
}

/// A file operation that failed: which, where and why.
public struct FileSystemError: Error, Equatable, CustomStringConvertible {
    /// As in "cannot *write* FILE".
    public var operation: String
    public var path: String
    /// The `errno` value.
    public var code: Int32
    public var reason: String

    public var description: String { "\(path): cannot \(operation): \(reason)" }
}

extension WritableFile {
    func appendAll(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(try append(rest)))
        }
    }
}

extension ReadableFile {
    /// Fills `bytes`, or throws when the file ends before.
    func readAll(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int, path: String) throws {
        var done = 0
        while done < bytes.count {
            let count = try read(
                UnsafeMutableRawBufferPointer(rebasing: bytes.dropFirst(done)), at: offset + done)
            guard count > 0 else {
                throw CheckpointError(path, "ends at byte \(offset + done), \(bytes.count - done) bytes too early")
            }
            done += count
        }
    }
}

extension FileSystem {
    /// The whole of a file that may have at most `limit` bytes.
    func contents(_ path: String, limit: Int) throws -> [UInt8] {
        let file = try open(path)
        guard file.byteCount <= limit else {
            throw CheckpointError(path, "has \(file.byteCount) bytes; at most \(limit) are allowed here")
        }
        return try [UInt8](unsafeUninitializedCapacity: file.byteCount) { bytes, count in
            try file.readAll(UnsafeMutableRawBufferPointer(bytes), at: 0, path: path)
            count = file.byteCount
        }
    }

    /// Writes a new file and makes its contents durable; its name becomes durable with its directory.
    func write(_ contents: [UInt8], to path: String) throws {
        let file = try create(path)
        try contents.withUnsafeBytes { try file.appendAll($0) }
        try file.synchronize()
        try file.close()
    }

    /// Writes a file so that after a crash either the old or the new one is there, complete.
    func replace(_ path: String, with contents: [UInt8]) throws {
        let temporary = path + ".partial"
        try? removeFile(temporary)
        do {
            try write(contents, to: temporary)
            try rename(temporary, to: path)
        } catch {
            try? removeFile(temporary)
            throw error
        }
        try synchronize(directory: Paths.parent(of: path))
    }

    func exists(_ name: String, in directory: String) -> Bool {
        ((try? list(directory)) ?? []).contains(name)
    }

    /// Makes a directory, durably, in one that is there.
    func createDirectoryIfMissing(_ path: String) throws {
        do {
            try createDirectory(path)
        } catch {
            if error.isExisting { return }
            throw error
        }
        try synchronize(directory: Paths.parent(of: path))
    }

    /// Makes a directory and those above it, as far as they are missing, durably.
    func createDirectories(_ path: String) throws {
        let parent = Paths.parent(of: path)
        do {
            try createDirectory(path)
        } catch {
            if error.isExisting { return }
            guard error.isMissing, parent != path else { throw error }
            try createDirectories(parent)
            try createDirectory(path)
        }
        try synchronize(directory: parent)
    }

    /// Removes a directory of plain files (checkpoints have no directories inside).
    package func removeTree(_ path: String) throws {
        for name in try list(path) { try removeFile(Paths.join(path, name)) }
        try removeDirectory(path)
    }
}
