internal import Foundation
internal import Subprocess

/// The stacks of processes, as a debugger sees them: what tells where a rank hangs.
enum StackReport {
    private static let linesPerProcess = 120

    /// One text a process; says so when there is no debugger.
    static func of(_ processes: [(rank: Int, pid: Int32)], within seconds: Double) async -> [String] {
        await withTaskGroup(of: (Int, String).self) { group in
            for (rank, pid) in processes {
                group.addTask { (rank, await stack(of: pid, within: seconds)) }
            }
            var texts: [(Int, String)] = []
            for await text in group { texts.append(text) }
            return texts.sorted { $0.0 < $1.0 }.map { "rank \($0.0): \($0.1)" }
        }
    }

    private static func stack(of pid: Int32, within seconds: Double) async -> String {
        let arguments = ["-p", "\(pid)", "-batch", "-nx", "-ex", "set pagination off", "-ex", "thread apply all bt 16"]
        guard let output = await ShortCommand.run("gdb", arguments, within: seconds)?.output else {
            return "no stack; install gdb on its host, and allow it to attach (kernel.yama.ptrace_scope)"
        }
        let lines = output.split(separator: "\n").filter { $0.hasPrefix("#") || $0.hasPrefix("Thread ") }
        return lines.prefix(linesPerProcess).joined(separator: "\n")
    }
}
