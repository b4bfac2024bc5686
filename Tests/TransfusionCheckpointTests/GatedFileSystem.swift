import Foundation
import TransfusionCheckpoint

/// The operating system's files behind a gate: while it is closed, nobody gets a new file to write.
///
/// `@unchecked Sendable`: the gate is touched under `condition` only.
final class GatedFileSystem: FileSystem, @unchecked Sendable {
    private let files = POSIXFileSystem()
    private let condition = NSCondition()
    private var isClosed = false

    func close() {
        condition.withLock { isClosed = true }
    }

    func open() {
        condition.withLock {
            isClosed = false
            condition.broadcast()
        }
    }

    func create(_ path: String) throws(FileSystemError) -> any WritableFile {
        condition.lock()
        while isClosed { condition.wait() }
        condition.unlock()
        return try files.create(path)
    }

    func createDirectory(_ path: String) throws(FileSystemError) { try files.createDirectory(path) }
    func list(_ directory: String) throws(FileSystemError) -> [String] { try files.list(directory) }
    func open(_ path: String) throws(FileSystemError) -> any ReadableFile { try files.open(path) }
    func rename(_ path: String, to newPath: String) throws(FileSystemError) { try files.rename(path, to: newPath) }
    func removeFile(_ path: String) throws(FileSystemError) { try files.removeFile(path) }
    func removeDirectory(_ path: String) throws(FileSystemError) { try files.removeDirectory(path) }
    func synchronize(directory: String) throws(FileSystemError) { try files.synchronize(directory: directory) }
}
