import TransfusionCheckpoint

/// The operating system's files, with somebody who is told of opens, and of the new names of renames, before they happen.
final class HookedFileSystem: FileSystem {
    private let files = POSIXFileSystem()
    private let onOpen: @Sendable (String) -> Void
    private let onRename: @Sendable (String) -> Void

    init(
        onOpen: @escaping @Sendable (String) -> Void = { _ in },
        onRename: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.onOpen = onOpen
        self.onRename = onRename
    }

    func open(_ path: String) throws(FileSystemError) -> any ReadableFile {
        onOpen(path)
        return try files.open(path)
    }

    func rename(_ path: String, to newPath: String) throws(FileSystemError) {
        onRename(newPath)
        try files.rename(path, to: newPath)
    }

    func create(_ path: String) throws(FileSystemError) -> any WritableFile { try files.create(path) }
    func createDirectory(_ path: String) throws(FileSystemError) { try files.createDirectory(path) }
    func list(_ directory: String) throws(FileSystemError) -> [String] { try files.list(directory) }
    func removeFile(_ path: String) throws(FileSystemError) { try files.removeFile(path) }
    func removeDirectory(_ path: String) throws(FileSystemError) { try files.removeDirectory(path) }
    func synchronize(directory: String) throws(FileSystemError) { try files.synchronize(directory: directory) }
}
