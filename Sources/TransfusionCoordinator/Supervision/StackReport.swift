internal import Foundation

/// The stacks of processes, as a debugger sees them: what tells where a rank hangs.
enum StackReport {
    struct Process: Sendable {
        let rank: Int
        let pid: Int32
        let host: ComputeHost
    }

    private static let linesPerProcess = 120
    /// Of a large job a few tell as much as all.
    private static let most = 16

    /// One text a process; says so when there is no debugger.
    static func of(_ processes: [Process], shell: RemoteShell, within seconds: Double) async -> [String] {
        await withTaskGroup(of: (Int, String).self) { group in
            for process in processes.prefix(most) {
                group.addTask { (process.rank, await stack(of: process, shell, within: seconds)) }
            }
            var texts: [(Int, String)] = []
            for await text in group { texts.append(text) }
            return texts.sorted { $0.0 < $1.0 }.map { "rank \($0.0): \($0.1)" }
        }
    }

    private static func stack(of process: Process, _ shell: RemoteShell, within seconds: Double) async -> String {
        let command = [
            "timeout", "\(Int(seconds))", "gdb", "-p", "\(process.pid)", "-batch", "-nx", "-ex", "set pagination off",
            "-ex", "thread apply all bt 16",
        ]
        let script = command.map(RemoteShell.quoted).joined(separator: " ")
        let output = await shell.run(script, on: process.host.name, within: seconds)
        guard let output else {
            return "no stack; install gdb on its host, and allow it to attach (kernel.yama.ptrace_scope)"
        }
        let lines = output.split(separator: "\n").filter { $0.hasPrefix("#") || $0.hasPrefix("Thread ") }
        return lines.prefix(linesPerProcess).joined(separator: "\n")
    }
}
