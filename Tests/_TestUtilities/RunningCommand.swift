internal import Foundation

/// A process that a test has started, in a process group of its own, which ends with this value at the latest.
///
/// `Foundation.Process` is not used: on Linux it takes a process for running until everything that inherited a descriptor
/// from it has ended too, which a test that kills processes cannot wait for, and its wait has no bound.
public final class RunningCommand {
    /// A process did not end in time, and was killed.
    public struct Overdue: Error, CustomStringConvertible {
        public let description: String
    }

    public let pid: Int32
    private let name: String
    /// Files instead of pipes: a process never blocks on output that nobody reads.
    private let directory: TemporaryDirectory
    private let outputs: [String]
    private var ended: (status: Int32, signal: Int32?)?

    init(_ path: String, _ arguments: [String], environment: [String: String?], output: String?) throws {
        name = URL(filePath: path).lastPathComponent + arguments.prefix(6).map { " " + $0 }.joined()
        directory = try TemporaryDirectory()
        outputs = output.map { [$0, $0] } ?? [directory.file("out"), directory.file("err")]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        for (descriptor, file) in zip([STDOUT_FILENO, STDERR_FILENO], outputs) {
            posix_spawn_file_actions_addopen(&actions, descriptor, file, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        }
        // Sockets of tests beside it would stay open in the process when both of their ends have closed them.
        for descriptor in STDERR_FILENO + 1..<1024 { posix_spawn_file_actions_addclose(&actions, descriptor) }
        // Threads of tests block signals, which a process would inherit.
        var attributes = posix_spawnattr_t(), none = sigset_t(), all = sigset_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        posix_spawnattr_setflags(&attributes, Int16(flags))

        var variables = ProcessInfo.processInfo.environment
        for (name, value) in environment { variables[name] = value }
        var words = ([path] + arguments).map { strdup($0) } + [nil]
        var settings = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { for word in words + settings { free(word) } }
        var pid: pid_t = 0
        let problem = posix_spawn(&pid, path, &actions, &attributes, &words, &settings)
        guard problem == 0 else { throw POSIXError(POSIXErrorCode(rawValue: problem) ?? .EINVAL) }
        self.pid = pid
    }

    deinit {
        guard isRunning else { return }
        killGroup()
    }

    public var isRunning: Bool {
        if ended != nil { return false }
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return true }
        let signal = status & 0x7f
        ended = signal == 0 ? (status >> 8 & 0xff, nil) : (signal, signal)
        return false
    }

    /// What it has taken of a processor so far.
    public var processorSeconds: Double {
        get throws {
            let fields = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8).split(separator: ")").last?
                .split(separator: " ")
            // In ticks: user and system, fields 14 and 15 of the line, of which two stand before the bracket.
            let ticks = fields?[11...12].compactMap { Double($0) } ?? []
            guard ticks.count == 2 else { throw POSIXError(.ESRCH) }
            return (ticks[0] + ticks[1]) / Double(sysconf(Int32(_SC_CLK_TCK)))
        }
    }

    public func send(_ signal: Int32) {
        if isRunning { kill(pid, signal) }
    }

    /// Waits for the end of the process.
    /// - Throws: `Overdue` with what it has printed, when the time is over; everything in its process group is then killed.
    public func wait(seconds: Double = Command.patience) throws -> Command.Result {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while isRunning, Date() < deadline { usleep(5000) }
        guard let ended else {
            killGroup()
            throw Overdue(
                description: "\(name): had not ended after \(Int(seconds)) s and was killed; it printed: \(printed)")
        }
        return Command.Result(
            status: ended.status, signal: ended.signal, output: text(of: outputs[0]), errors: text(of: outputs[1]))
    }

    private func killGroup() {
        kill(-pid, SIGKILL)
        // A process that waits for a device does not end even then.
        let deadline = Date(timeIntervalSinceNow: 10)
        while isRunning, Date() < deadline { usleep(5000) }
    }

    private var printed: String {
        Set(outputs).sorted().map { String(text(of: $0).suffix(4000)) }.joined(separator: "\n")
    }

    private func text(of file: String) -> String {
        String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
    }
}
