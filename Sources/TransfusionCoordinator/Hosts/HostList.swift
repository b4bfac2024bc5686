internal import Foundation
public import TransfusionConfig

/// The hosts of a run: from a host file, from Slurm, or from Kubernetes' MPI operator.
public enum HostList {
    /// Reads a host file: see `HostFile` for its forms.
    public static func read(_ path: String) throws(CommandFailure) -> [ComputeHost] {
        guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8)
        else {
            throw CommandFailure(
                "\(path): cannot be read as text; give a file with a host a line, as in 'node01 slots=2'", .wrongUse)
        }
        return try HostFile(text, path: path).hosts
    }

    /// The hosts that a batch system has given to this process; nil when there is none.
    public static func ofAllocation() async throws -> [ComputeHost]? {
        let environment = ProcessInfo.processInfo.environment
        if let nodes = environment["SLURM_JOB_NODELIST"] {
            guard let names = await ShortCommand.run("scontrol", ["show", "hostnames", nodes], within: 10),
                names.isSuccess
            else {
                throw CommandFailure(
                    "SLURM_JOB_NODELIST: 'scontrol show hostnames \(nodes)' fails; name the hosts", .wrongUse)
            }
            let counts = tasksPerNode(environment["SLURM_TASKS_PER_NODE"] ?? "1")
            return names.output.split(separator: "\n").enumerated().map { index, name in
                ComputeHost(name: String(name), slots: counts.isEmpty ? 1 : counts[min(index, counts.count - 1)])
            }
        }
        if let file = environment["OMPI_MCA_orte_default_hostfile"] { return try read(file) }
        return nil
    }

    /// Slurm's short form of numbers: `2(x3),1` is 2, 2, 2, 1.
    static func tasksPerNode(_ text: String) -> [Int] {
        text.split(separator: ",").flatMap { part -> [Int] in
            guard let match = part.wholeMatch(of: /(\d+)(?:\(x(\d+)\))?/), let count = Int(match.1) else { return [] }
            return [Int](repeating: count, count: min(65536, match.2.flatMap { Int($0) } ?? 1))
        }
    }
}
