import Glibc
import Synchronization
import TransfusionCheckpoint

/// The operating system's files, for a process that kills itself just before the operation with a given number.
final class KillingFileSystem: FileSystem {
    private let files = POSIXFileSystem()
    private let count = Atomic(0)
    private let fatal: Int

    init(at operation: Int) {
        fatal = operation
    }

    var operations: Int { count.load(ordering: .relaxed) }

    fileprivate func step() {
        if count.wrappingAdd(1, ordering: .relaxed).oldValue == fatal { kill(getpid(), SIGKILL) }
    }

    func create(_ path: String) throws(FileSystemError) -> any WritableFile {
        step()
        return Writer(system: self, file: try files.create(path))
    }

    func createDirectory(_ path: String) throws(FileSystemError) {
        step()
        try files.createDirectory(path)
    }

    func list(_ directory: String) throws(FileSystemError) -> [String] {
        step()
        return try files.list(directory)
    }

    func open(_ path: String) throws(FileSystemError) -> any ReadableFile {
        step()
        return try files.open(path)
    }

    func rename(_ path: String, to newPath: String) throws(FileSystemError) {
        step()
        try files.rename(path, to: newPath)
    }

    func removeFile(_ path: String) throws(FileSystemError) {
        step()
        try files.removeFile(path)
    }

    func removeDirectory(_ path: String) throws(FileSystemError) {
        step()
        try files.removeDirectory(path)
    }

    func synchronize(directory: String) throws(FileSystemError) {
        step()
        try files.synchronize(directory: directory)
    }

    private final class Writer: WritableFile {
        let system: KillingFileSystem
        let file: any WritableFile

        init(system: KillingFileSystem, file: any WritableFile) {
            self.system = system
            self.file = file
        }

        func append(_ bytes: UnsafeRawBufferPointer) throws(FileSystemError) -> Int {
            system.step()
            return try file.append(bytes)
        }

        func synchronize() throws(FileSystemError) {
            system.step()
            try file.synchronize()
        }

        func close() throws(FileSystemError) {
            system.step()
            try file.close()
        }
    }
}
