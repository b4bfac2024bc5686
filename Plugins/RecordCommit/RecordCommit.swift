import Foundation
import PackagePlugin

/// Lets the programs say which commit they were built from: before each build, as nothing else is never stale.
@main
struct RecordCommit: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let root = context.package.directoryURL
        let directory = context.pluginWorkDirectoryURL
        return [
            .prebuildCommand(
                displayName: "Record the commit", executable: URL(filePath: "/bin/sh"),
                arguments: [
                    root.appending(path: "Plugins/RecordCommit/record-commit.sh").path, root.path,
                    directory.appending(path: "Commit.swift").path, try context.tool(named: "swiftc").url.path,
                ], outputFilesDirectory: directory)
        ]
    }
}
