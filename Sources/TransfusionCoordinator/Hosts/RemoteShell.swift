internal import Foundation
internal import TransfusionTelemetry

/// Short commands on other hosts, over ssh without a password, as mpirun itself needs it.
enum RemoteShell {
    /// - Returns: What the command printed; nil when the host does not answer or the command fails.
    static func run(_ script: String, on host: String, within seconds: Double) async -> String? {
        let options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=\(max(1, Int(seconds / 2)))"]
        let result = await ShortCommand.run("ssh", options + [host, script], within: seconds)
        return result.flatMap { $0.isSuccess ? $0.output : nil }
    }

    /// Ends the processes whose environment names the launch, and prints how many there were.
    static func killScript(_ launch: String) -> String {
        // The identifier is made of hexadecimal digits and dashes; grep reads what belongs to this user only.
        "n=0; for p in $(grep -lsz '^\(HeartbeatEndpoint.launchVariable)=\(launch)$' /proc/[0-9]*/environ | cut -d/ -f3); "
            + "do kill -9 $p 2>/dev/null && n=$((n+1)); done; echo $n"
    }
}
