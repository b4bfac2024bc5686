internal import Foundation

/// The project's programs, which are installed beside each other.
public enum InstalledProgram {
    /// The path of another program beside this one, whether it is there or not.
    public static func beside(_ name: String) -> String {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(filePath: own).deletingLastPathComponent().appending(path: name).path
    }
}
