internal import Foundation
public import TransfusionConfig

/// The hosts of a run: from a host file, from Slurm, or from Kubernetes' MPI operator.
public enum HostList {
    /// Reads a host file as Open MPI takes it: a host a line, with `slots=N`; `#` begins a comment.
    public static func read(_ path: String) throws(CommandFailure) -> [ComputeHost] {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw CommandFailure(
                "\(path): cannot be read; give a file with a host a line, as in 'node01 slots=2'", .wrongUse)
        }
        return try parse(text, path)
    }

    static func parse(_ text: String, _ path: String) throws(CommandFailure) -> [ComputeHost] {
        var hosts: [ComputeHost] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace)
            guard let first = words.first else { continue }
            // The name goes onto command lines of ssh and mpirun.
            guard isName(first) else {
                throw CommandFailure("\(path):\(number + 1): \"\(first.prefix(60))\" is no name of a host", .wrongUse)
            }
            var slots = 1
            for word in words.dropFirst() {
                let parts = word.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, parts[0] == "slots" || parts[0] == "max_slots" || parts[0] == "max-slots",
                    let value = Int(parts[1]), (1...65536).contains(value)
                else {
                    throw CommandFailure(
                        "\(path):\(number + 1): \"\(word.prefix(60))\" is not of the form slots=N", .wrongUse)
                }
                if parts[0] == "slots" { slots = value }
            }
            if let index = hosts.firstIndex(where: { $0.name == first }) {
                hosts[index].slots += slots
            } else {
                hosts.append(ComputeHost(name: String(first), slots: slots))
            }
        }
        guard !hosts.isEmpty else { throw CommandFailure("\(path): names no host", .wrongUse) }
        return hosts
    }

    private static func isName(_ text: Substring) -> Bool {
        text.count <= 253 && text.first.map { $0.isASCII && ($0.isLetter || $0.isNumber) } ?? false
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || ".-_:".contains($0)) }
    }

    /// The hosts that a batch system has given to this process; nil when there is none.
    public static func ofAllocation() async throws -> [ComputeHost]? {
        let environment = ProcessInfo.processInfo.environment
        if let nodes = environment["SLURM_JOB_NODELIST"] {
            guard let names = await ShortCommand.run("scontrol", ["show", "hostnames", nodes], within: 10),
                names.isSuccess
            else {
                throw CommandFailure(
                    "SLURM_JOB_NODELIST: 'scontrol show hostnames \(nodes)' fails; give --hosts", .wrongUse)
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
