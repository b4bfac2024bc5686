internal import Foundation
internal import TransfusionTelemetry

/// Short commands on other hosts, on the way that mpirun takes for its own: by srun in a job of Slurm, else by ssh without
/// a password or what stands in for it.
struct RemoteShell: Sendable {
    /// The program with its options. It is called with a host and a command line for that host's shell; nil for srun.
    private let words: [String]?

    /// Where Open MPI's users name the program.
    private static let variable = "OMPI_MCA_plm_rsh_agent"
    private static let connectSeconds = 5

    /// - Parameter program: With options, separated by spaces; nil for the one that Open MPI is set to use.
    init(_ program: String?, environment: [String: String] = ProcessInfo.processInfo.environment) {
        let wanted = program ?? environment[Self.variable]
        guard wanted != nil || environment["SLURM_JOB_ID"] == nil else {
            words = nil
            return
        }
        let choice = wanted ?? "ssh"
        // Open MPI takes several, separated by colons, and uses the first.
        let words = choice.prefix { $0 != ":" }.split(separator: " ").map(String.init)
        let isSSH = words.first?.split(separator: "/").last == "ssh"
        self.words = words + (isSSH ? ["-o", "BatchMode=yes", "-o", "ConnectTimeout=\(Self.connectSeconds)"] : [])
    }

    /// As mpirun's parameter plm_rsh_agent; nil where mpirun needs none.
    var agent: String? { words?.joined(separator: " ") }

    func command(_ script: String, on host: String) -> [String] {
        if host == ComputeHost.localName { return ["sh", "-c", script] }
        if let words { return words + [host, script] }
        // Beside the ranks, whose step has all that the job was given.
        let step = [
            "srun", "--quiet", "--overlap", "--mem=0", "--nodes=1", "--ntasks=1",
            "--nodelist=\(ComputeHost(name: host, slots: 1).address)",
        ]
        return step + ["sh", "-c", script]
    }

    /// Runs a command line of a shell; on this host without a way over the network.
    /// - Returns: What the command printed; nil when the host does not answer or the command fails.
    func run(_ script: String, on host: String, within seconds: Double) async -> String? {
        await result(of: script, on: host, within: seconds).flatMap { $0.isSuccess ? $0.output : nil }
    }

    /// The same, with what was wrong.
    /// - Returns: nil when the time was not enough, or the program that reaches the host is missing.
    func result(of script: String, on host: String, within seconds: Double) async -> ShortCommand.Result? {
        let command = command(script, on: host)
        guard let program = command.first else { return nil }
        return await ShortCommand.run(program, Array(command.dropFirst()), within: seconds)
    }

    /// Ends all processes of a run, waits a few seconds for their end, and prints how many are left.
    /// - Parameter run: `SupervisorState.identity`, made of hexadecimal digits and dashes.
    static func killScript(_ run: String) -> String {
        // grep reads what belongs to this user only.
        "for t in $(seq 30); do "
            + "p=$(grep -lsz '^\(HeartbeatEndpoint.launchVariable)=\(run)\\.[0-9]*$' /proc/[0-9]*/environ | cut -d/ -f3); "
            + "[ -z \"$p\" ] && break; kill -9 $p 2>/dev/null; sleep 0.1; done; echo $p | wc -w"
    }

    /// A word of a shell's command line that stands for itself.
    static func quoted(_ word: String) -> String { "'" + word.replacing("'", with: "'\\''") + "'" }
}
