internal import Foundation
internal import TransfusionConfig
internal import TransfusionSupport
internal import TransfusionTelemetry

/// Hosts that go and come back.
extension RunSupervisor {
    /// The largest layout for which there are hosts. While there is none it asks them again, for as long as ranks may take
    /// to begin, and takes those that were set aside.
    /// - Returns: nil when the run shall stop meanwhile.
    /// - Throws: `CommandFailure` when the hosts cannot work together, or too few have become well in time.
    func chooseLayout() async throws(CommandFailure) -> LayoutChoice? {
        let deadline = MonotonicTime.seconds + configuration.supervision.startTimeout
        while !isAskedToStop {
            try await prepareHosts()
            do {
                let layout = try LayoutChoice(configuration, hosts: hosts.usable, limit: request.ranks)
                let chosen = Set(layout.ranksOnHosts.map(\.name))
                // For these the ranks were asked to end, in vain: not again at once.
                hosts.putAside(newcomers.subtracting(chosen))
                newcomers.formIntersection(chosen)
                return layout
            } catch {
                guard !hosts.remoteNames.isEmpty, MonotonicTime.seconds < deadline else { throw error }
            }
            if !hosts.takeBackSetAside() { await pause(Self.hostSearchInterval, "asking the hosts again") }
        }
        return nil
    }

    /// Clears all hosts of what earlier launches have left, and compares what they compute with.
    /// - Throws: `CommandFailure` when the ranks of the hosts of a new run cannot work together.
    private func prepareHosts() async throws(CommandFailure) {
        guard !hosts.remoteNames.isEmpty else { return }
        let answers = await hosts.prepare(run: state.identity, bench: bench)
        let conflicts = HostComparison(answers.compactMapValues(\.report)).conflicts
        guard conflicts.isEmpty || state.launches > 0 else {
            throw CommandFailure(
                "the hosts cannot work together: \(conflicts.joined(separator: "; ")); install the same everywhere",
                .wrongUse)
        }
        for (name, reason) in hosts.take(answers) { log("warning: \(name) is left out: \(reason)") }
        hostDifferences = HostComparison(hosts.reports).differences
        for difference in hostDifferences { log("warning: hosts differ: \(difference)") }
    }

    private var bench: String {
        Paths.parent(of: request.worker) + "/tf-bench"
    }

    /// Names the host when it is the one to blame: it does not answer any more.
    func blame(_ cause: FailureCause) async -> FailureCause {
        let kinds: [FailureCause.Kind] = [.signal, .exit, .hang, .launcher]
        guard let record = state.launch, kinds.contains(cause.kind), !record.remoteHosts.isEmpty,
            Descriptors.shortage() == nil
        else { return cause }
        let names = record.remoteHosts.map(\.name)
        let answering = await hosts.answering(names)
        let lost = names.filter { !answering.contains($0) }
        hosts.leave(lost)
        guard let host = lost.first else { return cause }
        let ranks = (0..<record.ranks).filter { record.host(of: $0)?.name == host }
        var blamed = FailureCause(
            .host, rank: ranks.count == 1 ? ranks[0] : nil, host: host,
            summary: "\(lost.count == 1 ? "host" : "hosts") \(lost.joined(separator: ", ")) cannot be reached, with "
                + "\(Self.name(ranks)); \(cause.summary)")
        blamed.details = cause.details
        return blamed
    }

    /// Looks now and then whether hosts that were left out are well again; if more ranks, or ranks on more hosts, are possible
    /// with them, the ranks are asked to save and to end, and are launched anew.
    func lookForLargerLayout(_ now: Double) {
        guard let record = state.launch, !isGrowing, isMovingOn else { return }
        newcomers = []
        let missing = hosts.missing
        if !missing.isEmpty, now - lastHostSearch > Self.hostSearchInterval, !isSearchingHosts {
            lastHostSearch = now
            isSearchingHosts = true
            let (hosts, run, bench) = (hosts, state.identity, bench)
            Task {
                let answers = await hosts.prepare(missing, run: run, bench: bench)
                // Why they are still left out is in the status.
                _ = self.hosts.take(answers, of: missing)
                isSearchingHosts = false
            }
        }
        guard let layout = try? LayoutChoice(configuration, hosts: hosts.usable, limit: request.ranks),
            layout.isLarger(than: record)
        else { return }
        isGrowing = true
        newcomers = Set(layout.ranksOnHosts.map(\.name)).subtracting(record.hosts.map(\.name))
        stopDeadline = now + configuration.supervision.saveTimeout
        log(
            "more hosts are well: the ranks save, and go on as \(layout.ranks) on \(layout.ranksOnHosts.count) hosts "
                + "instead of \(record.ranks) on \(record.hosts.count)")
    }

    /// Hosts with which a launch has failed before it moved on are left out for a while: without them it did. Not when
    /// another host is to blame.
    func leaveNewcomers(of record: LaunchRecord?, _ cause: FailureCause) {
        if cause.host.map(newcomers.contains) ?? true {
            hosts.putAside(newcomers.intersection(record?.hosts.map(\.name) ?? []))
        }
        newcomers = []
    }

    private static let hostSearchInterval = 5.0
}
