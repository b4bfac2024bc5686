internal import Foundation

public enum Directories {
    /// Makes a directory and those above it, as far as they are missing.
    /// - Throws: `FileFailure` with the system's own reason, which `FileManager` does not always tell.
    public static func make(_ path: String) throws(FileFailure) {
        if exists(path) { return }
        let parent = Paths.parent(of: path)
        if parent != path { try make(parent) }
        guard mkdir(path, 0o777) != 0 else { return }
        let failure = FileFailure("make the directory", path)
        // Several processes may make it at once.
        if !exists(path) { throw failure }
    }

    /// Whether there is a directory at `path`.
    public static func exists(_ path: String) -> Bool {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    }
}
