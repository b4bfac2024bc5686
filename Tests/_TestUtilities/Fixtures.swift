internal import Foundation
public import TransfusionCheckpoint

/// Files that a script made with other implementations, kept under Tests/Fixtures.
public enum Fixtures {
    /// The path of a file in Tests/Fixtures.
    public static func path(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures").appendingPathComponent(name).path
    }

    public static func safetensors(_ name: String) throws -> SafetensorsFile {
        try SafetensorsFile(path(name))
    }
}
