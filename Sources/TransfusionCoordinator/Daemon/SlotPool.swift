internal import TransfusionConfig
internal import TransfusionCore

/// Which of the hosts' slots the runs of a daemon hold.
struct SlotPool: Sendable {
    let hosts: [ComputeHost]
    private var taken: [String: [ComputeHost]] = [:]

    init(_ hosts: [ComputeHost]) {
        self.hosts = hosts
    }

    /// The slots that nobody holds.
    var free: [ComputeHost] {
        hosts.compactMap { host in
            let left = host.slots - ranks(on: host.name)
            return left > 0 ? ComputeHost(name: host.name, slots: left) : nil
        }
    }

    func ranks(on name: String) -> Int {
        taken.values.joined().filter { $0.name == name }.reduce(0) { $0 + $1.slots }
    }

    /// Finds out whether the hosts could hold a run when nothing else runs.
    func check(_ configuration: RunConfiguration, limit: Int?) throws(CommandFailure) {
        let slots = hosts.reduce(0) { $0 + $1.slots }
        if let limit, limit > slots {
            throw CommandFailure(
                reporting: SettingError(
                    "ranks", "\(limit) is more than the \(slots) slots of the hosts of this tf-coord"))
        }
        _ = try LayoutChoice(configuration, hosts: hosts, limit: limit)
    }

    /// A run that continues with the slots it has, but is launched again with no more than the hosts have.
    func limited(_ request: RunRequest, _ configuration: RunConfiguration) -> RunRequest {
        guard let layout = try? LayoutChoice(configuration, hosts: hosts, limit: request.ranks),
            layout.ranks < request.hosts.reduce(0, { $0 + $1.slots })
        else { return request }
        var request = request
        request.hosts = layout.ranksOnHosts
        return request
    }

    /// Takes the slots of a run: as many as it would get when nothing else runs.
    /// - Returns: nil, and nothing is taken, when not so many are free.
    mutating func take(_ run: String, _ configuration: RunConfiguration, limit: Int?) -> [ComputeHost]? {
        guard let wanted = try? LayoutChoice(configuration, hosts: hosts, limit: limit),
            let layout = try? LayoutChoice(configuration, hosts: free, limit: limit), layout.ranks == wanted.ranks
        else { return nil }
        taken[run] = layout.ranksOnHosts
        return layout.ranksOnHosts
    }

    /// Takes note of slots that a run holds already.
    mutating func hold(_ run: String, _ slots: [ComputeHost]) {
        taken[run] = slots
    }

    mutating func release(_ run: String) {
        taken[run] = nil
    }
}
