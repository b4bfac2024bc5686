internal import Foundation
internal import TransfusionSupport

/// The project's programs, which are installed beside each other.
public enum InstalledProgram {
    /// The path of another program beside this one, whether it is there or not.
    public static func beside(_ name: String) -> String {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return Paths.parent(of: own) + "/" + name
    }
}
