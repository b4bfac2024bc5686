internal import Foundation
internal import TransfusionConfig
internal import TransfusionTelemetry

/// Hosts that go and come back.
extension RunSupervisor {
    /// Clears other hosts of what earlier launches have left, and compares what they compute with.
    /// - Throws: `CommandFailure` when their ranks cannot work together.
    func prepareHosts() async throws(CommandFailure) {
        guard !hosts.remoteNames.isEmpty else { return }
        let bench = URL(filePath: request.worker).deletingLastPathComponent().appending(path: "tf-bench").path
        let answers = await hosts.prepare(run: state.identity, bench: bench)
        let busy = answers.filter { $0.value.processesLeft > 0 }.keys.sorted()
        let away = hosts.remoteNames.filter { answers[$0] == nil }
        hosts.comeBack(answers.keys)
        hosts.leave(away + busy)
        for host in busy { log("warning: \(host) is left out: processes of an earlier launch do not end there") }
        if !away.isEmpty { log("warning: \(away.joined(separator: ", ")): no answer; left out until they answer") }
        let comparison = HostComparison(answers.compactMapValues(\.report))
        guard comparison.conflicts.isEmpty else {
            throw CommandFailure(
                "the hosts cannot work together: \(comparison.conflicts.joined(separator: "; ")); install the same everywhere",
                .wrongUse)
        }
        hostDifferences = comparison.differences
        let silent = answers.filter { $0.value.report == nil }.keys.sorted()
        if !silent.isEmpty {
            hostDifferences.append("\(silent.joined(separator: ", ")): \(bench) host does not answer")
        }
        for difference in hostDifferences { log("warning: hosts differ: \(difference)") }
    }

    /// Names the host when it is the one to blame: it does not answer any more.
    func blame(_ cause: FailureCause) async -> FailureCause {
        let kinds: [FailureCause.Kind] = [.signal, .exit, .hang, .launcher]
        guard let record = state.launch, kinds.contains(cause.kind), !record.remoteHosts.isEmpty else { return cause }
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

    /// Looks now and then whether hosts that were lost answer again; if more ranks, or ranks on more hosts, are possible
    /// with them, the ranks are asked to save and to end, and are launched anew.
    func lookForLargerLayout(_ now: Double) {
        guard let record = state.launch, growth == nil, isMovingOn else { return }
        if !hosts.missing.isEmpty, now - lastHostSearch > Self.hostSearchInterval, !isSearchingHosts {
            lastHostSearch = now
            isSearchingHosts = true
            let hosts = hosts
            Task {
                let found = await hosts.answering(hosts.missing)
                self.hosts.comeBack(found)
                isSearchingHosts = false
            }
        }
        guard let layout = try? LayoutChoice(configuration, hosts: hosts.usable, limit: request.ranks),
            layout.isLarger(than: record)
        else { return }
        growth = layout
        stopDeadline = now + configuration.supervision.saveTimeout
        log(
            "more hosts answer: the ranks save, and go on as \(layout.ranks) on \(layout.ranksOnHosts.count) hosts "
                + "instead of \(record.ranks) on \(record.hosts.count)")
    }

    private static let hostSearchInterval = 5.0
}
