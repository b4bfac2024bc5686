public import TransfusionConfig

/// How many ranks run on which hosts: the largest layout that the hosts allow, with the same global batch.
///
/// The tensor-parallel degree stays, as it decides whether the model fits into memory; the data-parallel degree shrinks
/// and grows with the hosts. The global batch stays by definition: ranks compute more micro-batches of it each.
public struct LayoutChoice: Sendable, Equatable {
    public let data: Int
    public let tensor: Int
    /// The hosts that are used, with the ranks on each.
    public let ranksOnHosts: [ComputeHost]

    public var ranks: Int { data * tensor }

    /// Whether it trains faster than the layout of a launch: by more ranks, or by as many on more hosts.
    func isLarger(than record: LaunchRecord) -> Bool {
        ranks > record.ranks || ranks == record.ranks && ranksOnHosts.count > record.hosts.count
    }

    /// - Parameters:
    ///   - hosts: Those that can be used now, the preferred ones first.
    ///   - limit: The most ranks that are wanted; nil for as many as there are slots.
    /// - Throws: `CommandFailure` when the hosts do not hold one model.
    public init(_ configuration: RunConfiguration, hosts: [ComputeHost], limit: Int? = nil) throws(CommandFailure) {
        guard !hosts.isEmpty else {
            throw CommandFailure("no host can be used: none answers, or all are set aside; look at the log's warnings")
        }
        tensor = configuration.parallel.tensor
        let tensor = tensor
        let groups = hosts.map { $0.slots / tensor }
        var data = min(groups.reduce(0, +), (limit ?? .max) / tensor)
        data = min(data, configuration.batch.globalSequences / configuration.batch.microSequences)
        data = min(data, configuration.parallel.data ?? .max)
        // The tree of sums is cut into equal parts.
        if configuration.parallel.reduction == .elastic, data > 0 {
            data = 1 << (Int.bitWidth - 1 - data.leadingZeroBitCount)
        }
        guard data > 0 else {
            throw CommandFailure(
                "parallel.tensor: no host has room for the \(tensor) ranks of one model; "
                    + "the hosts are \(hosts.map { "\($0.name) with \($0.slots)" }.joined(separator: ", "))")
        }
        self.data = data
        // Spread evenly: hosts get groups of tensor-parallel ranks in turn, as far as they have room.
        var placed = [Int](repeating: 0, count: hosts.count)
        var left = data
        while left > 0 {
            for index in hosts.indices where left > 0 && placed[index] < groups[index] {
                placed[index] += 1
                left -= 1
            }
        }
        ranksOnHosts = zip(hosts, placed).filter { $0.1 > 0 }.map { ComputeHost(name: $0.0.name, slots: $0.1 * tensor) }
    }
}
