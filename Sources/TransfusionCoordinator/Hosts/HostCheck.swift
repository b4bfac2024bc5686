internal import Foundation
public import TransfusionConfig
internal import TransfusionCore
internal import TransfusionSupport
public import TransfusionTelemetry

/// Whether hosts can train together, found before any run: `tf-coord hosts --check`.
public struct HostCheck: Codable, Sendable, Equatable {
    /// What came of asking a host.
    public struct Answer: Codable, Sendable, Equatable {
        public var host: String
        public var slots: Int
        public var probe: HostProbe?
        /// Why there is no probe.
        public var failure: String?
        /// By how many seconds at least the host's clock is ahead of this one's; negative when it is behind.
        public var clockSeconds: Double?
        /// What the shared directory lacks there.
        public var directoryProblem: String?

        public init(host: String, slots: Int) {
            self.host = host
            self.slots = slots
        }
    }

    public let answers: [Answer]
    /// With these no run can begin, or end well.
    public let problems: [String]
    /// These make a run slower, or what it says wrong.
    public let warnings: [String]

    /// A host that reaches less than this of the median is named.
    private static let slowShare = 0.8
    private static let mostClockSeconds = 1.0
    private static let leastSharedMemory = 1 << 30
    /// For the answer of a host, in seconds.
    private static let patience = 60.0

    /// Asks all hosts at once.
    /// - Parameters:
    ///   - shared: The directory that all hosts should see, such as the one for runs.
    ///   - remoteShell: The program that reaches other hosts; nil for the one that Open MPI is set to use.
    /// - Throws: `CommandFailure` when the directory cannot be used on this host.
    public static func run(
        _ hosts: [ComputeHost], shared: String, remoteShell: String? = nil
    ) async throws(CommandFailure) -> HostCheck {
        let hosts = ComputeHost.unified(hosts)
        try ComputeHost.requireUsableNames(hosts)
        let directory: SharedDirectoryCheck
        do {
            directory = try SharedDirectoryCheck(in: RunRequest.absolute(shared))
        } catch {
            throw CommandFailure(reporting: SettingError("shared", "\(error)"))
        }
        let shell = RemoteShell(remoteShell)
        let answers = await withTaskGroup(of: (Int, Answer).self) { group in
            for (index, host) in hosts.enumerated() {
                group.addTask { (index, await ask(host, directory, shell)) }
            }
            var answers: [(index: Int, answer: Answer)] = []
            for await (index, answer) in group { answers.append((index, answer)) }
            return answers.sorted { $0.index < $1.index }.map(\.answer)
        }
        return HostCheck(answers, shared: RunRequest.absolute(shared))
    }

    private static func ask(_ host: ComputeHost, _ directory: SharedDirectoryCheck, _ shell: RemoteShell) async
        -> Answer
    {
        var answer = Answer(host: host.name, slots: host.slots)
        let choices = MPICommandLine.choices.map { RemoteShell.quoted("\($0.key)=\($0.value)") }
        let bench = InstalledProgram.beside("tf-bench")
        let words = ["host", "--json", "--probe", directory.path, "--name", host.name].map(RemoteShell.quoted)
        // The first line says that the host was reached, whatever comes then.
        let mark = "reached"
        let script = (["echo \(mark); exec env"] + choices + [RemoteShell.quoted(bench)] + words).joined(separator: " ")
        let asked = Date().timeIntervalSince1970
        let result = await shell.result(of: script, on: host.name, within: patience)
        let answered = Date().timeIntervalSince1970
        guard let result else {
            answer.failure = "does not answer within \(Int(patience)) s; see whether it is up, or leave it out"
            return answer
        }
        // ssh ends its lines with a carriage return as well.
        let lines = result.output.split(whereSeparator: \.isNewline)
        let message = result.errors.split(whereSeparator: \.isNewline).last
        let said = message.map { ": \($0)" } ?? ""
        guard lines.contains(where: { $0 == mark }) else {
            answer.failure =
                "cannot be reached\(said); see whether it is up, and that 'ssh \(host.name) true' works without a password"
            return answer
        }
        guard result.isSuccess, let json = lines.last, json != mark,
            let probe = try? JSONDecoder().decode(HostProbe.self, from: Data(json.utf8))
        else {
            answer.failure = reason(whyNotRunning: bench, saying: message.map(String.init) ?? "")
            return answer
        }
        answer.probe = probe
        // It began after it was asked, and ended before that was known here.
        answer.clockSeconds = probe.end > answered ? probe.end - answered : min(0, probe.begin - asked)
        answer.directoryProblem =
            probe.directoryProblem
            ?? (directory.hasAnswer(of: host.name) ? nil : "what is written there is not seen here")
        return answer
    }

    /// Why a program gave no answer on a host, and the remedy.
    /// - Parameter message: The last line that the host's shell, its loader or the program itself said.
    static func reason(whyNotRunning program: String, saying message: String) -> String {
        let said = message.isEmpty ? "" : ": \(message)"
        if message.contains(/^(Connection|client_loop|Timeout, server|packet_write)|closed by remote host/) {
            return "was lost while it was asked\(said); see whether it is up, and check again"
        }
        let library = message.firstMatch(of: /loading shared libraries: ([^ :]+)/)?.1
        let remedy =
            // A shell may take it for a script.
            if message.contains(/Exec format error|cannot execute binary file|[Ss]yntax error/) {
                "it is built for other processors than this host has; hosts of one architecture can train together"
            } else if message.contains("GLIBC") {
                "its system is older than that of the build; use the image there"
            } else if library?.hasPrefix("libmpi") == true {
                "install Open MPI \(openMPI) there, or load its module in ~/.bashrc, where a shell without login sees it"
            } else if library != nil {
                "install the package with apt, which brings its libraries, or unpack all of the tarball"
            } else {
                "install the same build at the same path"
            }
        return "\(program) does not run there\(said); \(remedy)"
    }

    /// The version of Open MPI whose mpirun the coordinator knows how to call.
    private static let openMPI = "4.1"

    /// - Parameter shared: The path of the shared directory.
    init(_ answers: [Answer], shared: String) {
        var problems: [String] = [], warnings: [String] = []
        for answer in answers {
            if let failure = answer.failure { problems.append("\(answer.host): \(failure)") }
            if let problem = answer.directoryProblem { problems.append("\(answer.host): \(shared): \(problem)") }
            guard let probe = answer.probe else { continue }
            if let bytes = probe.sharedMemoryBytes {
                if bytes < Self.leastSharedMemory {
                    warnings.append(
                        "\(answer.host): /dev/shm has \(bytes >> 20) MiB free; ranks that share a host want more, as with "
                            + "'docker run --shm-size'")
                }
            } else {
                problems.append("\(answer.host): /dev/shm cannot be written, and ranks of a host speak through it")
            }
            if let seconds = answer.clockSeconds, abs(seconds) > Self.mostClockSeconds {
                let direction = seconds > 0 ? "ahead of" : "behind"
                warnings.append(
                    "\(answer.host): its clock is \(String(format: "%.1f", abs(seconds))) s \(direction) this host's; "
                        + "synchronise them")
            }
            if answer.slots > probe.report.processors {
                warnings.append(
                    "\(answer.host): takes \(answer.slots) ranks and has \(probe.report.processors) processors; give "
                        + "slots=\(probe.report.processors) or fewer")
            }
        }
        let reports = Dictionary(
            uniqueKeysWithValues: answers.compactMap { answer in answer.probe.map { (answer.host, $0.report) } })
        let comparison = HostComparison(reports)
        self.answers = answers
        problems += comparison.conflicts.map { "\($0); install the same on all hosts" }
        if let version = Set(reports.values.map(\.openMPI)).first, comparison.conflicts.isEmpty,
            !version.contains(/v4\.1(\D|$)/)
        {
            problems.append(
                "\(version): is not \(Self.openMPI), for which tf-coord is made; install that, or load its module")
        }
        self.problems = problems
        self.warnings = warnings + comparison.differences + Self.slowHosts(answers)
    }

    private static func slowHosts(_ answers: [Answer]) -> [String] {
        let rates = answers.compactMap { answer in answer.probe.map { (host: answer.host, rate: $0.matrixRate) } }
        let sorted = rates.map(\.rate).sorted()
        guard sorted.count > 1 else { return [] }
        // Of two, the faster one: the other may be the slow one.
        let median = sorted[sorted.count / 2]
        return rates.filter { $0.rate < slowShare * median }.map { host, rate in
            "\(host): slow: its matrix products reach \(Int((100 * rate / median).rounded())) % of the median; the others would "
                + "wait for it"
        }
    }

    /// A line a host, then what is wrong.
    public var table: String {
        let header = [
            "host", "slots", "transfusion", "Open MPI", "processors", "kernels", "GFLOP/s", "/dev/shm", "clock",
            "directory",
        ]
        let rows = answers.map { answer -> [String] in
            guard let probe = answer.probe else {
                return [answer.host, "\(answer.slots)", "FAILED"] + Array(repeating: "", count: 7)
            }
            let report = probe.report
            return [
                answer.host, "\(answer.slots)", HostReport.name(ofVersion: report.version, program: report.program),
                String(report.openMPI.trimmingPrefix("Open MPI v")), "\(report.processors)", report.kernels,
                String(format: "%.0f", probe.matrixRate / 1e9),
                probe.sharedMemoryBytes.map { String(format: "%.1f GB", Double($0) / 1e9) } ?? "none",
                String(format: "%+.1f s", answer.clockSeconds ?? 0), answer.directoryProblem == nil ? "ok" : "BAD",
            ]
        }
        let lines =
            StatusText.columns([header] + rows) + problems.map { "problem: \($0)" } + warnings.map { "warning: \($0)" }
        // Names and errors come from elsewhere.
        return lines.map(StatusText.printable).joined(separator: "\n")
    }
}
