internal import TransfusionCore
package import TransfusionParallel
internal import TransfusionTelemetry

/// Who uses the processors that the ranks of a job run on. All ranks make one and call it alike.
package final class JobProcessorUse {
    private let group: any Communicator
    /// The processors that this rank speaks for: the first rank of a host for those of all its ranks.
    private let processors: Set<Int>
    private var last: ProcessorUse

    package init(_ group: any Communicator) throws {
        self.group = group
        let own = ProcessorUse.allowedProcessors.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
        let all = try group.allGather(own, site: "processors")
        let ranks = all.indices.filter { group.hosts[$0] == group.hosts[group.rank] }
        processors =
            ranks.first == group.rank
            ? Set(
                ranks.flatMap { rank in
                    stride(from: 0, to: all[rank].count, by: 2).map {
                        Int(all[rank][$0]) | Int(all[rank][$0 + 1]) << 8
                    }
                }) : []
        last = ProcessorUse(of: processors)
    }

    /// The share of the processors that others took since the last call, nil where a kernel does not say; and the sums of
    /// what the ranks give, which saves a message.
    package func take(adding values: [Double] = []) throws -> (othersShare: Double?, sums: [Double]) {
        let now = ProcessorUse(of: processors)
        let use = now - last
        last = now
        let sums = try group.sum(
            [use.busySeconds, use.allSeconds, use.ownSeconds] + values, site: "use of the processors")
        let all = ProcessorUse(busySeconds: sums[0], allSeconds: sums[1], ownSeconds: sums[2])
        return (all.othersShare, Array(sums[3...]))
    }
}
