internal import SystemPackage

/// Paths as text, taken apart. Nothing on disk is looked at.
///
/// Foundation's functions for this trap on some relative paths of one letter; these take any text.
public enum Paths {
    /// The directory that holds `path`: `.` for a name alone, `/` for the root, `../..` for `..`. Slashes and dots at the end
    /// do not count.
    public static func parent(of path: String) -> String {
        let path = withoutTrailingDots(FilePath(path))
        // Of `.` and `..` no name can be taken away.
        if let last = path.lastComponent, last.kind != .regular { return path.appending("..").string }
        let parent = withoutTrailingDots(path.removingLastComponent())
        return parent.isEmpty ? "." : parent.string
    }

    private static func withoutTrailingDots(_ path: FilePath) -> FilePath {
        var path = path
        while path.lastComponent?.kind == .currentDirectory, path.components.count > 1 { path.removeLastComponent() }
        return path
    }

    /// `name` in a directory.
    public static func join(_ directory: String, _ name: String) -> String {
        directory.hasSuffix("/") ? directory + name : directory + "/" + name
    }

    /// The last component: `b.yaml` of `a/b.yaml`. The path itself where there is none, as in `/`.
    public static func name(of path: String) -> String {
        FilePath(path).lastComponent?.string ?? path
    }

    /// The last component without its extension: `b` of `a/b.yaml`.
    public static func stem(of path: String) -> String {
        FilePath(path).stem ?? path
    }

    /// The extension of the last component in lower case, without the dot; empty where there is none.
    public static func fileExtension(of path: String) -> String {
        FilePath(path).extension?.lowercased() ?? ""
    }

    /// The path without slashes at its end, so that names can be appended to it. `/` stays.
    public static func withoutTrailingSlash(_ path: String) -> String {
        FilePath(path).string
    }
}
