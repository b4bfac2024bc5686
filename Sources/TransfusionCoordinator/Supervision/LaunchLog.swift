internal import Foundation
internal import TransfusionConfig

/// What the output of mpirun says about how a launch ended.
public struct LaunchLog: Sendable, Equatable {
    /// The rank that mpirun saw end first, with its signal or exit code.
    public struct FirstEnd: Sendable, Equatable {
        public let rank: Int
        public let signal: Int32?
        public let exitCode: Int32?
    }

    public private(set) var firstEnd: FirstEnd?
    /// Whether that rank ended because the run was to save and stop.
    var saysStopped: Bool { firstEnd?.exitCode == CommandFailure.Code.checkpointedAndStopped.rawValue }
    /// The errors that ranks reported, without "error: ".
    public private(set) var errors: [String] = []
    /// The line that says that memory was refused.
    public private(set) var refusedMemory: String?
    /// mpirun has lost another host, or did not reach it.
    public private(set) var lostHost = false
    /// mpirun could not start the ranks, and would not be able to the next time.
    public private(set) var launchProblem: String?
    /// The first message of mpirun itself.
    public private(set) var launcherMessage: String?

    /// The most bytes that are looked at, from the end.
    private static let limit = 256 << 10

    public init(path: String) {
        self.init(text: LogPart(of: path, from: -Self.limit)?.text ?? "")
    }

    public init(text: String) {
        // mpirun breaks its sentences anywhere.
        let joined = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        if let match = joined.firstMatch(
            of: /process rank (\d+) with PID \d+ on node \S+ exited on signal (\d+)/)
        {
            firstEnd = FirstEnd(rank: Int(match.1) ?? 0, signal: Int32(match.2), exitCode: nil)
        } else if let match = joined.firstMatch(
            of: /MPI_ABORT was invoked on rank (\d+) .{0,200}?with errorcode (-?\d+)/)
        {
            firstEnd = FirstEnd(rank: Int(match.1) ?? 0, signal: nil, exitCode: Int32(match.2))
        } else if let match = joined.firstMatch(of: /Process name: \[\[\d+,\d+\],(\d+)\] Exit code: (\d+)/) {
            firstEnd = FirstEnd(rank: Int(match.1) ?? 0, signal: nil, exitCode: Int32(match.2))
        }
        lostHost = Self.losses.contains(where: joined.contains)
        for line in text.split(separator: "\n") {
            if line.hasPrefix("error: ") { errors.append(String(line.dropFirst("error: ".count))) }
            if refusedMemory == nil, Self.refusals.contains(where: { line.localizedCaseInsensitiveContains($0) }) {
                refusedMemory = String(line.prefix(300))
            }
        }
        let problems = ["There are not enough slots available", "was unable to launch", "unable to find the specified"]
        if firstEnd == nil, let problem = problems.first(where: joined.contains) {
            launchProblem = joined.range(of: problem).map { String(joined[$0.lowerBound...].prefix(300)) }
        }
        launcherMessage = Self.firstMessage(text)
    }

    /// mpirun puts its messages between lines of dashes.
    private static func firstMessage(_ text: String) -> String? {
        let lines = text.split(separator: "\n")
        let isRule = { (line: Substring) in line.count > 40 && line.allSatisfy { $0 == "-" } }
        guard let first = lines.firstIndex(where: isRule) else { return nil }
        let message = lines[(first + 1)...].prefix { !isRule($0) }
        let words = message.flatMap { $0.split(whereSeparator: \.isWhitespace) }
        return words.isEmpty ? nil : String(words.joined(separator: " ").prefix(400))
    }

    /// How mpirun says that it has no connection to a host.
    private static let losses = [
        "has lost communication with a remote daemon", "was unable to reliably start one or more daemons",
        "died unexpectedly with status",
    ]

    /// How programs and libraries say that they got no memory.
    private static let refusals = [
        "out of memory", "cannot allocate", "could not allocate", "std::bad_alloc", "failed to allocate",
        "allocation failed", "unable to allocate", "a thread: cannot start",
    ]
}

/// Names of signals.
enum SignalName {
    static func of(_ number: Int32) -> String {
        names[number] ?? "signal \(number)"
    }

    private static let names: [Int32: String] = [
        SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGQUIT: "SIGQUIT", SIGILL: "SIGILL", SIGTRAP: "SIGTRAP",
        SIGABRT: "SIGABRT", SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGKILL: "SIGKILL", SIGUSR1: "SIGUSR1",
        SIGSEGV: "SIGSEGV", SIGUSR2: "SIGUSR2", SIGPIPE: "SIGPIPE", SIGALRM: "SIGALRM", SIGTERM: "SIGTERM",
        SIGXCPU: "SIGXCPU", SIGXFSZ: "SIGXFSZ", SIGSYS: "SIGSYS", SIGSTOP: "SIGSTOP",
    ]
}
